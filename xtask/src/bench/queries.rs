//! Lists of the history in a store of a million deliveries, each also as a multiple of a single indexed read.

use std::{fs, process::Command};

use anyhow::Context as _;

use super::{
    Bench, progress,
    table::{Figure, Table, Target, Unit},
};
use crate::shell;

/// Seeds a store, indexes it and reads each list. The program prints a line for each; the slowest become figures.
pub fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let (dir, reports) = (bench.scratch.dir("queries")?, bench.scratch.dir("queries-report")?);
    let summary = reports.join("summary.json");
    let deliveries = bench.pick("1000000", "50000");
    progress(&format!("a history of {deliveries} deliveries"));
    let mut command = Command::new(bench.binaries.join("tidings-queries"));
    command.arg("--dir").arg(&dir).args(["--deliveries", deliveries]).arg("--summary").arg(&summary);
    shell::run(&mut command)?;
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(summary)?).context("the report of tidings-queries is no JSON")?;
    let number = |name: &str| summary[name].as_f64().with_context(|| format!("the report has no {name}"));
    let one = Some((number("oneMs")?, "one delivery by its id"));
    let mut add = |name, value, target, baseline| {
        table.add(Figure { name, value, unit: Unit::Ms, target: Target::Below(target), baseline });
    };
    add("a page of 50 under the slowest filter", number("filterMs")?, 20.0, one);
    add("a page of 50 of the slowest text search", number("textMs")?, 200.0, one);
    Ok(())
}

//! Reads of the history in a store of a million deliveries: how long each takes, and how many reads of one row that is.

mod report;
mod seed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::id::{ChannelId, Id as _, RuleId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;
use tidings_store::Store;
use tidings_store::history::{DeliveryFilter, EventFilter, SearchedUntil};
use tidings_store::insights::InsightStore as _;
use tidings_store::sqlite::SqliteStore;

use report::Report;
use seed::Seed;

/// The server's own, so that the allocator makes no difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures reads of the history
#[derive(Parser)]
struct Args {
    /// An existing directory; the database is created in it, or used if it was seeded before
    #[arg(long)]
    dir: PathBuf,
    /// Deliveries of the large workspace; a small one gets a hundredth
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    deliveries: u32,
    /// Reads of each kind
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// A file for the slowest medians, as JSON
    #[arg(long)]
    summary: Option<PathBuf>,
    /// Do not measure before the index is built
    #[arg(long)]
    only_indexed: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let is_seeded = is_seeded(&args.dir);
    let store = Arc::new(SqliteStore::open(&args.dir)?);
    let seed = Seed { large: args.deliveries, small: args.deliveries / 100 };
    if !is_seeded {
        let started = now();
        seed.run(&store).await?;
        println!(
            "{} deliveries inserted and settled in {:.0} s",
            seed.large + seed.small,
            started.elapsed().as_secs_f64()
        );
        if !args.only_indexed {
            println!("\nBefore indexing: each list until it is complete, row by row\n");
            let mut report = Report::default();
            measure(&store, &mut report, 1).await?;
            print!("{report}");
        }
        index(&store).await?;
    }
    println!("\nIndexed: each list until it is complete\n");
    let mut report = Report::default();
    measure(&store, &mut report, args.repeats).await?;
    print!("{report}");
    store.close().await;
    if let Some(path) = args.summary {
        std::fs::write(path, report.summary().to_string())?;
    }
    Ok(())
}

fn is_seeded(directory: &Path) -> bool {
    directory.join(tidings_store::sqlite::DATABASE_FILE).exists()
}

/// Indexes everything, without the pauses of the server.
async fn index(store: &SqliteStore) -> anyhow::Result<()> {
    let (started, mut blocks) = (now(), 0);
    loop {
        let progress = store.index_history(seed::END).await?;
        blocks += progress.blocks;
        if !progress.has_more {
            break;
        }
    }
    println!("\n{blocks} blocks indexed in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Lists to measure.
enum Query {
    Deliveries(DeliveryFilter),
    Events(EventFilter),
    /// The failed and held deliveries that deserve attention, as the overview counts them.
    Attention,
    /// What waits for each channel.
    Backlog,
}

impl Query {
    /// Reads the list's first page until it is full or the search complete. Returns how many rows it has, and how many
    /// searches it took.
    async fn run(&self, store: &SqliteStore, workspace_id: WorkspaceId) -> anyhow::Result<(usize, u32)> {
        let (mut rows, mut searches, mut until): (usize, u32, Option<SearchedUntil>) = (0, 0, None);
        let channels = || (0..seed::CHANNELS).map(seed::channel).collect::<Vec<_>>();
        loop {
            searches += 1;
            let (found, searched_until) = match self {
                Self::Attention => {
                    let since = seed::END.minus_ms(86_400_000);
                    store.attention(workspace_id, channels(), since, COUNT_MAX).await?;
                    (0, None)
                }
                Self::Backlog => (store.backlog(channels()).await?.len(), None),
                Self::Deliveries(filter) => {
                    let filter = DeliveryFilter { limit: PAGE, searched_until: until, ..filter.clone() };
                    let page = store.deliveries(workspace_id, filter).await?;
                    (page.records.len(), page.searched_until)
                }
                Self::Events(filter) => {
                    let filter = EventFilter { limit: PAGE, searched_until: until, ..filter.clone() };
                    let page = store.events(workspace_id, filter).await?;
                    (page.records.len(), page.searched_until)
                }
            };
            rows += found;
            until = searched_until;
            if until.is_none() || rows >= PAGE as usize {
                return Ok((rows, searches));
            }
        }
    }
}

/// Rows of a page.
const PAGE: u32 = 50;
/// As far as deliveries that deserve attention are counted.
const COUNT_MAX: u32 = 1_000;

async fn measure(store: &SqliteStore, report: &mut Report, repeats: u32) -> anyhow::Result<()> {
    let newest = store.deliveries(seed::large(), DeliveryFilter { limit: 500, ..Default::default() }).await?.records;
    let mut single = Vec::new();
    for record in &newest {
        let started = now();
        store.delivery(seed::large(), record.id).await?;
        single.push(started.elapsed());
    }
    report.unit = Report::median(&mut single);
    for (workspace, workspace_id) in [("large", seed::large()), ("small", seed::small())] {
        for (name, query) in queries() {
            let (mut times, mut rows, mut searches) = (Vec::new(), 0, 0);
            for _ in 0..repeats {
                let started = now();
                (rows, searches) = query.run(store, workspace_id).await?;
                times.push(started.elapsed());
            }
            report.add(workspace, name, rows, searches, times);
        }
    }
    Ok(())
}

fn queries() -> Vec<(&'static str, Query)> {
    let all = DeliveryFilter::default;
    let text = |text: &str| DeliveryFilter { text: Some(text.into()), ..all() };
    let (no_id, early) = ([9; 16], seed::START.plus_ms(60_000));
    let deliveries = [
        ("all", all()),
        ("status=sent", DeliveryFilter { status: Some(Status::Sent), ..all() }),
        ("status=failed (1 %)", DeliveryFilter { status: Some(Status::Failed), ..all() }),
        ("status=skipped (none)", DeliveryFilter { status: Some(Status::Skipped), ..all() }),
        ("status=held (none)", DeliveryFilter { status: Some(Status::Held), ..all() }),
        ("reason=severity_filter", DeliveryFilter { reason: Some("severity_filter".into()), ..all() }),
        ("reason=dependency (none)", DeliveryFilter { reason: Some("dependency".into()), ..all() }),
        ("channel (2 %)", DeliveryFilter { channel_id: Some(seed::channel(7)), ..all() }),
        ("channel (none)", DeliveryFilter { channel_id: Some(ChannelId::from_bytes(no_id)), ..all() }),
        ("rule (none)", DeliveryFilter { rule_id: Some(RuleId::from_bytes(no_id)), ..all() }),
        ("kind=workflow.failed (none)", DeliveryFilter { kind: Some(EventKind::WorkflowFailed), ..all() }),
        ("resourceType=alert (none)", DeliveryFilter { resource_type: Some(ResourceType::Alert), ..all() }),
        ("resourceId (0.5 %)", DeliveryFilter { resource_id: Some("flow-17".into()), ..all() }),
        ("resourceId (none)", DeliveryFilter { resource_id: Some("flow-none".into()), ..all() }),
        ("resourceId (oldest)", DeliveryFilter { resource_id: Some("flow-once".into()), ..all() }),
        ("since & until (empty)", DeliveryFilter { since: Some(seed::START), until: Some(seed::START), ..all() }),
        (
            "status=failed until the first minute",
            DeliveryFilter { status: Some(Status::Failed), until: Some(early), ..all() },
        ),
        (
            "status=failed & channel without failures",
            DeliveryFilter { status: Some(Status::Failed), channel_id: Some(seed::channel(7)), ..all() },
        ),
        (
            "channel & resource that exclude each other",
            DeliveryFilter { channel_id: Some(seed::channel(7)), resource_id: Some("flow-8".into()), ..all() },
        ),
        (
            "status=sent & kind & reason (none)",
            DeliveryFilter {
                status: Some(Status::Sent),
                kind: Some(EventKind::RunTerminal),
                reason: Some("muted".into()),
                ..all()
            },
        ),
        ("q=revenue (many)", text("Revenue")),
        ("q= a run's id (one)", text(&seed::run_id(seed::large(), 77))),
        ("q= part of an error (0.5 %)", text("502: QUERY-100")),
        ("q= nothing", text("nowhere to be found")),
        ("q=e5 (two letters)", text("e5")),
        ("q= nothing & status=failed", DeliveryFilter { status: Some(Status::Failed), ..text("nowhere") }),
    ];
    let events = [
        ("events: all", EventFilter::default()),
        ("events: runs", EventFilter { runs_only: true, ..Default::default() }),
        ("events: trigger=failure (1 %)", EventFilter { trigger: Some(Trigger::Failure), ..Default::default() }),
        ("events: kind (none)", EventFilter { kind: Some(EventKind::Digest), ..Default::default() }),
        ("events: resourceType (none)", EventFilter { resource_type: Some(ResourceType::Alert), ..Default::default() }),
        ("events: resourceId (oldest)", EventFilter { resource_id: Some("flow-once".into()), ..Default::default() }),
    ];
    let deliveries = deliveries.map(|(name, filter)| (name, Query::Deliveries(filter)));
    let events = events.map(|(name, filter)| (name, Query::Events(filter)));
    let counts = [("counts: attention", Query::Attention), ("counts: backlog", Query::Backlog)];
    deliveries.into_iter().chain(events).chain(counts).collect()
}

/// Milliseconds, for reports.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

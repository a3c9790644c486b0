//! Encoded columns and texts, compared with what went into them; damaged ones.

use proptest::prelude::*;

use super::*;

/// A column in which nearly all rows have the same value, or few or many values are mixed.
fn column(rows: usize) -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        prop::collection::vec(prop_oneof![30 => Just(0u64), 1 => 1..5u64], rows),
        prop::collection::vec(0..5u64, rows),
        prop::collection::vec(0..3_000u64, rows),
    ]
}

/// Two columns of the same number of rows.
fn columns() -> impl Strategy<Value = (Vec<u64>, Vec<u64>)> {
    (0..900usize).prop_flat_map(|rows| (column(rows), column(rows)))
}

fn built((first, second): &(Vec<u64>, Vec<u64>)) -> (Columns, Vec<(i64, i64)>) {
    let mut builder = ColumnsBuilder::<2>::default();
    let keys: Vec<_> = (0..first.len() as i64).map(|row| (row / 3 * 1_000_000_007, i64::MAX - row)).collect();
    for ((keys, first), second) in keys.iter().zip(first).zip(second) {
        builder.push(*keys, [*first, *second]);
    }
    (builder.finish(), keys)
}

fn select(columns: &Columns, wanted: &Wanted<2>) -> Result<Vec<(i64, i64)>> {
    let Some(selection) = Selection::of(&columns.values, wanted)? else { return Ok(vec![]) };
    let Some(selected) = selection.rows(&columns.codes, None)? else { return Ok(vec![]) };
    selected_keys(&columns.keys, &selected)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn selection_finds_the_rows_that_match(
        columns in columns(),
        first in prop::option::of(prop::collection::vec(0..6u64, 1..3)),
        second in prop::option::of(prop::collection::vec(0..9u64, 1..4)),
    ) {
        let (built, keys) = built(&columns);
        let is_wanted = |wanted: &Option<Vec<u64>>, value| wanted.as_ref().is_none_or(|wanted| wanted.contains(value));
        let rows = keys.iter().zip(&columns.0).zip(&columns.1);
        let expected: Vec<_> = rows
            .filter(|((_, one), other)| is_wanted(&first, one) && is_wanted(&second, other))
            .map(|((keys, _), _)| *keys)
            .collect();
        prop_assert_eq!(select(&built, &[first, second]).unwrap(), expected);
    }

    #[test]
    fn search_finds_the_rows_that_contain(
        texts in prop::collection::vec(("[ab]{0,3}", "[abc]{0,4}"), 0..40),
        needle in "[abc]{1,3}",
    ) {
        let mut builder = TextsBuilder::<2>::default();
        for (one, other) in &texts {
            builder.push(0, hash(one.as_bytes()), |into| into.extend(one.as_bytes()));
            builder.push(1, hash(other.as_bytes()), |into| into.extend(other.as_bytes()));
        }
        let mut selected = vec![true; texts.len()];
        let finder = memmem::Finder::new(&needle);
        let is_any = search::<2>(&builder.finish(), &finder, b"ccc", &mut selected).unwrap();
        let expected: Vec<_> = texts
            .iter()
            .map(|(one, other)| one.contains(&needle) || other.contains(&needle) || other == "ccc")
            .collect();
        prop_assert_eq!(is_any, expected.contains(&true));
        prop_assert_eq!(selected, expected);
    }
}

#[test]
fn damaged_block_is_an_error_and_no_panic() {
    let rows = 300;
    let (columns, _) = built(&((0..rows).collect(), (0..rows).map(|row| u64::from(row == 9)).collect()));
    let wanted = [Some(vec![7]), None];
    assert_eq!(select(&columns, &wanted).unwrap().len(), 1);
    for length in 0..columns.values.len() {
        assert!(Selection::of(&columns.values[..length], &wanted).is_err(), "{length}");
    }
    let selection = Selection::of(&columns.values, &wanted).unwrap().unwrap();
    for length in 0..columns.codes.len() {
        assert!(selection.rows(&columns.codes[..length], None).is_err(), "{length}");
    }
    for length in 0..columns.keys.len() {
        assert!(selected_keys(&columns.keys[..length], &[true; 300]).is_err(), "{length}");
    }
    assert!(selected_keys(&[0xff; 64], &[true; 1]).is_err());
}

/// Blocks are kept in files: their hashes must not change with a release.
#[test]
fn hash_of_known_values_is_stable() {
    let hashes = ["", "sent", "flow.run.terminal"].map(|text| hash(text.as_bytes()));
    assert_eq!(hashes, [16_088_033_402_395_635_887, 16_354_242_885_679_271_093, 6_592_931_808_270_839_032]);
}

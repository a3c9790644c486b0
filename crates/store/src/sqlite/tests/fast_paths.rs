//! The specialised statements of the hot path write the same rows as the general ones, however many rows share a
//! statement.

use rusqlite::Connection;
use rusqlite::types::Value;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::id::{DeliveryId, Id as _};

use super::{NOW, accept_events, id, new_event, workspace_id};
use crate::queue::{Attempt, FollowUps, InitialState, Lease, NewEvent, NextState, Settled, Settlement};
use crate::sqlite::db::Db;
use crate::sqlite::{attempts, migrate, settle};

fn database() -> Connection {
    let mut db = Connection::open_in_memory().unwrap();
    migrate::up(&mut db, std::path::Path::new("data")).unwrap();
    db
}

/// The event with this number, its delivery leased.
fn leased(number: u64) -> NewEvent {
    let mut new_event = new_event(number);
    new_event.deliveries[0].initial_state = InitialState::Leased(Lease { owner: 7, until: NOW.plus_ms(9) });
    new_event
}

/// All columns of the delivery with this number.
fn columns(db: &Connection, number: u64) -> Vec<(String, Value)> {
    let mut statement = db.prepare("SELECT * FROM delivery WHERE id = ?").unwrap();
    let names: Vec<String> = statement.column_names().map(String::from).collect();
    let values = statement.query_row([id::<DeliveryId>(number).as_bytes()], |row| {
        (0..names.len()).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<_>>>()
    });
    names.into_iter().zip(values.unwrap()).collect()
}

#[test]
fn leased_insert_writes_same_row_as_general_insert() {
    let (leased_only, mixed) = (database(), database());
    accept_events(&Db::new(&leased_only), vec![leased(1)]).unwrap();
    accept_events(&Db::new(&mixed), vec![leased(1), new_event(2)]).unwrap();
    assert_eq!(columns(&leased_only, 1), columns(&mixed, 1));
}

#[test]
fn multi_row_insert_any_number_of_rows_is_complete() {
    let one_by_one = database();
    let all = Db::new(&one_by_one);
    (1..=200).for_each(|number| drop(accept_events(&all, vec![leased(number)]).unwrap()));
    for rows in (1..=40).chain([64, 200]) {
        let together = database();
        let batch = Db::new(&together);
        let accepted = accept_events(&batch, (1..=rows).map(leased).collect()).unwrap();
        assert_eq!(accepted.len() as u64, rows);
        for number in 1..=rows {
            assert_eq!(columns(&together, number), columns(&one_by_one, number), "{number} of {rows}");
        }
    }
}

#[test]
fn settle_first_sent_writes_same_row_as_general_settle() {
    let connection = database();
    let db = Db::new(&connection);
    accept_events(&db, vec![leased(1), leased(2)]).unwrap();
    // An error text forces the general statement: the specialised one always clears `last_error`.
    for (number, error) in [(1, None), (2, Some("odd".to_owned()))] {
        let attempt = Attempt {
            number: 1,
            trigger: AttemptTrigger::Scheduled,
            started_at: NOW,
            duration_ms: 3,
            http_status: Some(204),
            error_class: None,
            error,
            response_headers: None,
            response_body: None,
            channel_revision: None,
            note: None,
        };
        let settlement = Settlement {
            workspace_id: workspace_id(),
            delivery_id: id(number),
            owner: 7,
            attempt_count: 0,
            now: NOW.plus_ms(5),
            attempt: Some(attempt),
            next: NextState::Done(Status::Sent),
            attempt_state: None,
            not_before: None,
            follow_ups: FollowUps::None,
        };
        for fenced in
            [Settlement { owner: 8, ..settlement.clone() }, Settlement { workspace_id: id(9), ..settlement.clone() }]
        {
            assert_eq!(settle::settle(&db, &fenced).unwrap(), Settled::Stale);
        }
        assert_eq!(settle::settle(&db, &settlement).unwrap(), Settled::Written);
        assert_eq!(settle::settle(&db, &settlement).unwrap(), Settled::Stale, "it is settled once");
    }
    let (special, general) = (columns(&connection, 1), columns(&connection, 2));
    let own = ["sort_key", "id", "event_sort_key", "attempts", "last_error"];
    for ((name, special), (_, general)) in
        special.iter().zip(&general).filter(|((name, _), _)| !own.contains(&name.as_str()))
    {
        assert_eq!(special, general, "{name}");
    }
    let [mut general, special] = [general, special].map(|columns| {
        let text = columns.into_iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == "attempts" => Some(text),
            _ => None,
        });
        attempts::decode_all(&text.unwrap()).unwrap()
    });
    assert_eq!(general[0].error.take().as_deref(), Some("odd"));
    assert_eq!(general, special);
}

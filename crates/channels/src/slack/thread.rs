//! Threads: with a bot token, what comes later of an incident stands under its first message, and that one says in the end
//! that it is over (`chat.update`).

use serde::{Deserialize, Serialize};

/// Where a message stands, as `chat.postMessage` answers and `chat.update` wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The channel's id, also where its name was given.
    pub(super) channel: String,
    /// The message's time, which is its name.
    pub(super) ts: String,
}

impl Place {
    /// Where the message stands that was taken with this answer. Both keys come before the message itself, which may be
    /// more than is kept.
    pub(super) fn of_answer(body: &[u8]) -> Option<Self> {
        if let Ok(place) = serde_json::from_slice(body) {
            return Some(place);
        }
        let text = String::from_utf8_lossy(body);
        let (head, _) = text.split_once(",\"message\"")?;
        serde_json::from_str(&format!("{head}}}")).ok()
    }

    /// What an earlier message left.
    pub(super) fn read(left: &str) -> Option<Self> {
        serde_json::from_str(left).ok()
    }

    /// What is left for later messages.
    pub(super) fn left(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_found_in_whole_answers_and_in_cut_ones() {
        let place = Place { channel: "C1".into(), ts: "1503435956.000247".into() };
        let whole = r#"{"ok":true,"channel":"C1","ts":"1503435956.000247","message":{"text":"x"}}"#;
        assert_eq!(Place::of_answer(whole.as_bytes()), Some(place.clone()));
        assert_eq!(Place::of_answer(&whole.as_bytes()[..whole.len() - 9]), Some(place.clone()), "cut");
        assert_eq!(Place::of_answer(b"{\"ok\":true}"), None);
        assert_eq!(Place::of_answer(b"ok"), None);
        assert_eq!(Place::read(&place.left().unwrap()), Some(place));
    }
}

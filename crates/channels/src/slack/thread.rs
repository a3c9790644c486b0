//! Threads: with a bot token, later messages about an incident are posted under its first message, and when the incident is
//! resolved the first message is updated (`chat.update`).

use serde::{Deserialize, Serialize};

/// A posted message as `chat.postMessage` returns it and `chat.update` expects it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ThreadRef {
    /// The channel's id, also if it was configured by name.
    pub(super) channel: String,
    /// The message's timestamp, which is its id within the channel.
    pub(super) ts: String,
}

impl ThreadRef {
    /// Reads the response to `chat.postMessage`. Slack echoes the whole message, so the kept body may be cut; both keys
    /// come before the message.
    pub(super) fn from_response(body: &[u8]) -> Option<Self> {
        if let Ok(thread) = serde_json::from_slice(body) {
            return Some(thread);
        }
        let text = String::from_utf8_lossy(body);
        let (head, _) = text.split_once(",\"message\"")?;
        serde_json::from_str(&format!("{head}}}")).ok()
    }

    /// Reads the state that an earlier message left.
    pub(super) fn from_state(state: &str) -> Option<Self> {
        serde_json::from_str(state).ok()
    }

    /// The state for later messages.
    pub(super) fn to_state(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_ref_is_read_from_whole_and_cut_responses() {
        let thread = ThreadRef { channel: "C1".into(), ts: "1503435956.000247".into() };
        let whole = r#"{"ok":true,"channel":"C1","ts":"1503435956.000247","message":{"text":"x"}}"#;
        assert_eq!(ThreadRef::from_response(whole.as_bytes()), Some(thread.clone()));
        assert_eq!(ThreadRef::from_response(&whole.as_bytes()[..whole.len() - 9]), Some(thread.clone()), "cut");
        assert_eq!(ThreadRef::from_response(b"{\"ok\":true}"), None);
        assert_eq!(ThreadRef::from_response(b"ok"), None);
        assert_eq!(ThreadRef::from_state(&thread.to_state().unwrap()), Some(thread));
    }
}

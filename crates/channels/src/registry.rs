//! All channel types.

use tidings_domain::channel::ChannelType;

use crate::config::ChannelPlugin;
use crate::discord::Discord;
use crate::email::Email;
use crate::slack::Slack;
use crate::webhook::Webhook;

/// All plugins, in the order of [`ChannelType::ALL`].
pub static PLUGINS: [&dyn ChannelPlugin; ChannelType::ALL.len()] = [&Email, &Webhook, &Slack, &Discord];

/// The plugin of this type. The match makes a new type without a plugin a compile error.
pub fn plugin(channel_type: ChannelType) -> &'static dyn ChannelPlugin {
    match channel_type {
        ChannelType::Email => &Email,
        ChannelType::Webhook => &Webhook,
        ChannelType::Slack => &Slack,
        ChannelType::Discord => &Discord,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_list_agrees_with_match() {
        let listed: Vec<_> = PLUGINS.iter().map(|plugin| plugin.channel_type()).collect();
        assert_eq!(listed, ChannelType::ALL);
        for channel_type in ChannelType::ALL {
            assert_eq!(plugin(channel_type).channel_type(), channel_type);
        }
    }
}

//! `/notification-preferences`.

use tidings_app::preferences::{self, Preferences, PreferencesSaved};
use tidings_app::{Configure, Read};

use crate::auth::Authorized;
use crate::body::Patch;
use crate::problem::Problem;
use crate::response::Reply;

pub(super) async fn one(by: Authorized<Read>) -> Result<Reply<Preferences>, Problem> {
    Ok(Reply(preferences::one(&by)?))
}

pub(super) async fn edit(
    by: Authorized<Configure>,
    patch: Patch<Preferences>,
) -> Result<Reply<PreferencesSaved>, Problem> {
    let sets_global_mute = patch.sets("globalMuteUntil");
    Ok(Reply(preferences::edit(&by, sets_global_mute, |preferences| patch.apply(preferences)).await?))
}

//! `/endpoints/test`: looks at an endpoint at once, as it would be if it were kept, and says all that was seen. Nothing is
//! kept of it.

use std::time::Duration;

use tidings_domain::check::judge;
use tidings_domain::endpoint::violations;
use tidings_domain::id::EndpointId;
use tidings_engine::EngineError;
use tidings_engine::settings::endpoints::EndpointDraft;
use tidings_monitor::USER_AGENT;

use super::{draft, watchable};
use crate::answer::{Answer, ok};
use crate::auth::Writer;
use crate::body::Object;
use crate::problem::{Code, Problem};
use crate::view::check::tested;

/// Looks at it now: at an endpoint by `endpointId`, with what stands beside that put over it, or at one that is not kept.
pub(in crate::api) async fn test(writer: Writer, Object(mut object): Object) -> Answer {
    let before = match object.remove("endpointId") {
        None | Some(serde_json::Value::Null) => None,
        Some(id) => {
            let id = id.as_str().and_then(|id| id.parse::<EndpointId>().ok());
            let id =
                id.ok_or_else(|| Problem::invalid_field("/endpointId", "must be an endpoint's id, such as ep_…"))?;
            Some(EndpointDraft::of(&*writer.engine().endpoint(writer.workspace_id(), id)?))
        }
    };
    let draft = draft::test(Object(object), before).map_err(EngineError::Invalid)?;
    let found = violations(&draft.definition, None, 1);
    if !found.is_empty() {
        return Err(Problem::invalid(found));
    }
    watchable(writer.prober(), &draft.definition)?;
    let place = writer.place_for_test();
    let _place = place.ok_or_else(|| Problem::new(Code::Unavailable, "as many tests run at once as may: try again"))?;
    let timeout = Duration::from_millis(draft.definition.timeout_ms.into());
    let probe = &draft.definition.probe;
    let observation = writer.prober().probe(probe, draft.secret.as_ref(), timeout, USER_AGENT, writer.now()).await;
    ok(&tested(&draft.definition, &judge(&draft.definition, &observation)))
}

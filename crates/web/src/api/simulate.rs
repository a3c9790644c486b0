//! `/simulate`.

use tidings_app::Simulate;
use tidings_app::simulate::{self, Simulation, SimulationRequest};

use crate::auth::Authorized;
use crate::body::Body;
use crate::problem::Problem;
use crate::response::Reply;

pub(super) async fn simulate(
    by: Authorized<Simulate>,
    body: Body<SimulationRequest>,
) -> Result<Reply<Simulation>, Problem> {
    Ok(Reply(simulate::simulate(&by, body.read()?).await?))
}

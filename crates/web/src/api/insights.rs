//! `/overview`, `/queue`, `/deliveries/stats`, `/endpoints/uptime`, `/maintenance-windows`: aggregates for pages.

use tidings_app::Read;
use tidings_app::delivery_stats::{self, DeliveryStats, DeliveryStatsQuery};
use tidings_app::maintenance_windows::{self, OccurrenceList, OccurrenceQuery};
use tidings_app::overview::{self, Overview};
use tidings_app::queue::{self, Queue, QueueQuery};
use tidings_app::uptime::{self, UptimeList, UptimeQuery};

use crate::auth::Authorized;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::Reply;

pub(super) async fn overview(by: Authorized<Read>) -> Result<Reply<Overview>, Problem> {
    Ok(Reply(overview::overview(&by).await?))
}

pub(super) async fn queue(
    by: Authorized<Read>,
    Parameters(query): Parameters<QueueQuery>,
) -> Result<Reply<Queue>, Problem> {
    Ok(Reply(queue::queue(&by, query).await?))
}

pub(super) async fn delivery_stats(
    by: Authorized<Read>,
    Parameters(query): Parameters<DeliveryStatsQuery>,
) -> Result<Reply<DeliveryStats>, Problem> {
    Ok(Reply(delivery_stats::stats(&by, query).await?))
}

pub(super) async fn uptime(
    by: Authorized<Read>,
    Parameters(query): Parameters<UptimeQuery>,
) -> Result<Reply<UptimeList>, Problem> {
    Ok(Reply(uptime::uptime(&by, query).await?))
}

pub(super) async fn maintenance_windows(
    by: Authorized<Read>,
    Parameters(query): Parameters<OccurrenceQuery>,
) -> Result<Reply<OccurrenceList>, Problem> {
    Ok(Reply(maintenance_windows::list(&by, query)?))
}

//! The exchange, for what only the unit that sent it decides: whoever has no part in it does not learn that it is there.

use uuid::Uuid;

use super::Refusal;
use super::refusal::missing;
use crate::Gateway;
use crate::access::Caller;
use crate::fhir::issue::{Code, Issue};
use crate::store::Exchange;

/// The exchange, where the caller may act for its sender; otherwise `why` it may not, in Swedish and English.
pub(super) async fn sent_by(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    why: (&str, &str),
) -> Result<Exchange, Refusal> {
    let exchange = gateway.store.exchange(&caller.within_reach(), id).await?.ok_or_else(|| missing("exchange"))?;
    if exchange.sender().is_some_and(|sender| caller.may_act_for(&sender.unit)) {
        return Ok(exchange);
    }
    Err(Refusal::Forbidden(Issue::error(Code::Forbidden, "exchange", why.0, why.1)))
}

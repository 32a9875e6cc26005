//! Webhooks: an account's endpoints, the events they are told of, and the deliveries.
//!
//! An event, its deliveries and their jobs are one transaction. The worker then tells each
//! endpoint in its own time, signed as Standard Webhooks has it, and notes what came of it.
//!
//! Ids are UUIDs of version 7, so lists are walks backwards through an index: newest first, and
//! the last id of a page is where the next begins, whatever is inserted or deleted meanwhile.

mod attempt;
mod deliveries;
mod endpoints;
mod event_type;
mod events;
mod outcome;
mod public;
mod purge;
mod replay;
mod secret;
mod target;

pub use attempt::{Attempt, Disabled, Due, disabled, due};
pub use deliveries::{Answer, Delivery, DeliveryState, find_delivery, list_deliveries};
pub use endpoints::{
    Change, ChangeError, CreateError, Endpoint, MOST_ENDPOINTS, NewEndpoint, SECRET_OVERLAP_HOURS,
    Versions, change_endpoint, create_endpoint, delete_endpoint, find_endpoint, list_endpoints,
    rotate_secret,
};
pub use event_type::{EventFilter, EventType, InvalidEventFilter, InvalidEventType, NotToBeSent};
pub use events::{
    AcceptError, Accepted, Event, IDEMPOTENCY_HOURS, IdempotencyKey, InvalidIdempotencyKey,
    NewEvent, accept_event, find_event, list_events,
};
pub use outcome::{FAILING_DAYS, Noted, Outcome, Response, give_up, note};
pub use public::is_public;
pub use purge::{DELIVERY_DAYS, fail_lost_deliveries, purge_events, purge_idempotency_keys};
pub use replay::{MOST_REPLAYED, Replayed, ResendError, replay, replay_failed, send_test_event};
pub use secret::{Keys, Secret};
pub use target::{InvalidTarget, Target, Targets};

//! `/deliveries`: what of the delivery log is carried out or rendered here: messages as channels send them, and resends of
//! many deliveries.

pub mod message;
pub mod resend;

mod create;
mod verify;

pub(super) use self::{create::create, verify::verify};

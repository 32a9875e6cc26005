//! The page behind the link of a verification mail.
//!
//! Following a link must not use up its token: mail scanners and previews follow links too. So
//! `GET` shows a page with a button, and the button's `POST` verifies.

mod page;
mod show;
mod submit;

use self::page::Page;
pub(super) use self::{show::show, submit::submit};

//! Mails that say something and ask for nothing.

use askama::{Error, Template};

use crate::mail::Content;

/// One of them. Lines are as short as they are here: the text form shows them as they stand.
pub(super) struct Notice {
    subject: &'static str,
    /// What a list of mails shows beside the subject.
    preview: &'static str,
    /// What has happened.
    what: &'static str,
    /// What to do where it should not have.
    otherwise: &'static str,
}

impl Notice {
    pub(super) fn content(&self) -> Result<Content, Error> {
        Ok(Content {
            subject: self.subject,
            text: NoticeText { notice: self }.render()?,
            html: NoticeHtml { notice: self }.render()?,
        })
    }
}

#[derive(Template)]
#[template(path = "notice.txt")]
struct NoticeText<'a> {
    notice: &'a Notice,
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticeHtml<'a> {
    notice: &'a Notice,
}

pub(super) const ALREADY_REGISTERED: Notice = Notice {
    subject: "You already have an account",
    preview: "Nothing has changed.",
    what: "\
Somebody, most likely you, has just signed up at Slipway with this address.
It already has an account, so nothing was changed: log in with the password
that you chose then.",
    otherwise: "\
It was not you? Then there is nothing to do. Whoever it was has learnt
nothing about your account, not even that it exists.",
};

pub(super) const ALREADY_VERIFIED: Notice = Notice {
    subject: "Your address is confirmed already",
    preview: "There is nothing to confirm: log in.",
    what: "\
Somebody, most likely you, has asked for another mail to confirm this
address at Slipway. It is confirmed already: log in with your password. If
you have forgotten it, ask for a new one where you log in.",
    otherwise: "\
It was not you? Then there is nothing to do. Whoever it was has learnt
nothing about your account, not even that it exists.",
};

pub(super) const PASSWORD_CHANGED: Notice = Notice {
    subject: "Your password was changed",
    preview: "Whoever was logged in elsewhere no longer is.",
    what: "\
The password of your account at Slipway has just been changed. Whoever was
logged in elsewhere no longer is.",
    otherwise: "\
It was not you? Then somebody knows the password or reads your mail. Change
the password of your mailbox, and then choose a new one at Slipway: ask for
it where you log in.",
};

pub(super) const ADDRESS_TAKEN: Notice = Notice {
    subject: "This address already has an account",
    preview: "Nothing has changed.",
    what: "\
Somebody, most likely you, wants to use this address for another account at
Slipway. It already has one, so nothing was changed. Log in to that one, or
delete it first and ask again.",
    otherwise: "\
It was not you? Then there is nothing to do. Whoever it was has learnt
nothing about your account, not even that it exists.",
};

pub(super) const ADDRESS_CHANGE_REQUESTED: Notice = Notice {
    subject: "Your address is about to change",
    preview: "A mail to the new address has the link that confirms it.",
    what: "\
Somebody, most likely you, wants to use another address for your account at
Slipway. A mail to that address has the link that confirms it. Until then,
nothing changes.",
    otherwise: "\
It was not you? Then somebody knows your password. Change it now, or ask for
a new one where you log in: that also stops the change of the address.",
};

pub(super) const ADDRESS_CHANGED: Notice = Notice {
    subject: "Your account has another address now",
    preview: "From now on, mail about it goes to the new address.",
    what: "\
Your account at Slipway has another address now. You log in with that one,
and mail about the account goes there. This is the last to this address.",
    otherwise: "\
It was not you? Then somebody knew your password. Write to us: this address
alone no longer opens the account.",
};

pub(super) const ACCOUNT_DELETED: Notice = Notice {
    subject: "Your account was deleted",
    preview: "All that belonged to it is gone.",
    what: "\
Your account at Slipway was deleted, as you asked, with all that belonged to
it. This is the last mail about it. You can sign up again at any time.",
    otherwise: "\
It was not you? Then somebody knew your password. What was deleted cannot be
brought back; where else you used that password, change it.",
};

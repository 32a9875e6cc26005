use crate::routes::admin::{
    asset::{JOBS_STYLE_LINK, LIVE_LINK},
    signed_in::SignedIn,
};

/// What all of these pages have in common, beyond the layout.
pub(super) struct Page<'a> {
    pub(super) base: &'a str,
    pub(super) csrf: &'a str,
    pub(super) style: &'static str,
    /// The script that keeps the page up to date, where it has something that moves.
    pub(super) script: Option<&'static str>,
    /// What was done just before.
    pub(super) notice: Option<&'static str>,
}

impl<'a> Page<'a> {
    /// One that is asked for again and again.
    pub(super) fn live(admin: &'a SignedIn, notice: Option<&'static str>) -> Self {
        Self {
            script: Some(&LIVE_LINK),
            notice,
            ..Self::still(admin)
        }
    }

    /// One that stays as it is.
    pub(super) fn still(admin: &'a SignedIn) -> Self {
        Self {
            base: &admin.base,
            csrf: &admin.csrf,
            style: &JOBS_STYLE_LINK,
            script: None,
            notice: None,
        }
    }
}

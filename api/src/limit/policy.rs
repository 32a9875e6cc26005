//! The limits there are, and what the settings make of them.

use std::{collections::BTreeMap, time::Duration};

use queue::limit::Limit;
use service::settings::Reader;

/// One limit: what is counted, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Log-ins of a client.
    LogInByAddress,
    /// Log-ins of a client to one account.
    LogInByAddressAndAccount,
    /// Log-ins of everybody to one account.
    LogInByAccount,
    /// Sign-ups of a client.
    SignUpByAddress,
    /// Sign-ups of a client with one address.
    SignUpByAddressAndAccount,
    /// Sign-ups of everybody, and so mails, with one address.
    SignUpByAccount,
    /// Tokens of mails that a client tries.
    TokenByAddress,
    /// Mails that a client asks for without signing up.
    MailByAddress,
    /// Such mails of one kind to one address.
    MailByAccount,
    /// Passwords that a client with an access token tries, to change what needs one.
    PasswordByAccount,
    /// Refresh tokens that a client tries.
    RefreshByAddress,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::LogInByAddress,
        Self::LogInByAddressAndAccount,
        Self::LogInByAccount,
        Self::SignUpByAddress,
        Self::SignUpByAddressAndAccount,
        Self::SignUpByAccount,
        Self::TokenByAddress,
        Self::MailByAddress,
        Self::MailByAccount,
        Self::PasswordByAccount,
        Self::RefreshByAddress,
    ];

    /// Its name in `API_LIMITS` and in answers, and by default how many requests in how many
    /// seconds.
    ///
    /// As many may come at once after a rest, so in the worst case it is twice as many in that
    /// time. ASVS 4.0.3, 2.2.1 asks for at most 100 guesses at an account in an hour.
    pub const fn definition(self) -> (&'static str, u32, u64) {
        match self {
            Self::LogInByAddress => ("log-in-by-address", 10, 60),
            Self::LogInByAddressAndAccount => ("log-in-by-address-and-account", 10, 15 * 60),
            Self::LogInByAccount => ("log-in-by-account", 50, 60 * 60),
            Self::SignUpByAddress => ("sign-up-by-address", 30, 60 * 60),
            Self::SignUpByAddressAndAccount => ("sign-up-by-address-and-account", 5, 60 * 60),
            Self::SignUpByAccount => ("sign-up-by-account", 20, 60 * 60),
            Self::TokenByAddress => ("token-by-address", 20, 60),
            Self::MailByAddress => ("mail-by-address", 30, 60 * 60),
            Self::MailByAccount => ("mail-by-account", 5, 60 * 60),
            Self::PasswordByAccount => ("password-by-account", 10, 15 * 60),
            Self::RefreshByAddress => ("refresh-by-address", 120, 60),
        }
    }

    /// Its name in `API_LIMITS` and in answers.
    pub const fn name(self) -> &'static str {
        self.definition().0
    }

    /// Whether its quota says what others do with an account, which is not the client's affair:
    /// log-ins of late would tell that somebody has one.
    pub(super) const fn is_shared(self) -> bool {
        matches!(
            self,
            Self::LogInByAccount | Self::SignUpByAccount | Self::MailByAccount
        )
    }
}

/// How many requests each policy lets through, where that is not its default.
#[derive(Clone, Debug, Default)]
pub struct Quotas(BTreeMap<Policy, Limit>);

impl Quotas {
    /// Reads `API_LIMITS`: `policy=requests/seconds` for those that shall not have their default,
    /// or `all=requests/seconds`.
    pub fn read(reader: &mut Reader) -> Self {
        let mut quotas = Self::default();
        for item in reader.list("API_LIMITS") {
            if let Some((policies, limit)) = parse(&item) {
                let changed = policies.into_iter().map(|policy| (policy, limit));
                quotas.0.extend(changed);
            } else {
                let names = Policy::ALL.map(Policy::name).join(", ");
                let wrong = format!(
                    "{item:?} is not a policy and its requests/seconds, such as \
                     log-in-by-address=10/60"
                );
                let right = format!(
                    "there are all, {names}, with 1 to 1000000 requests in 1 to 86400 seconds"
                );
                reader.problem("API_LIMITS", wrong, right);
            }
        }
        quotas
    }

    pub(super) fn of(&self, policy: Policy) -> Limit {
        let (_, requests, seconds) = policy.definition();
        let default = limit(requests, Duration::from_secs(seconds));
        self.0.get(&policy).copied().unwrap_or(default)
    }
}

/// So many at once after a rest, too.
fn limit(requests: u32, per: Duration) -> Limit {
    Limit {
        requests,
        per,
        burst: requests,
    }
}

/// The policies that an item of the setting is for, and their limit.
fn parse(item: &str) -> Option<(Vec<Policy>, Limit)> {
    let (name, rate) = item.split_once('=')?;
    let mut policies = Policy::ALL.to_vec();
    policies.retain(|policy| name == "all" || policy.name() == name);
    let (requests, seconds) = rate.split_once('/')?;
    let requests = requests.parse().ok()?;
    let seconds = seconds.parse().ok()?;
    let is_possible = (1..=1_000_000).contains(&requests) && (1..=24 * 60 * 60).contains(&seconds);
    let per = Duration::from_secs(seconds);
    (is_possible && !policies.is_empty()).then(|| (policies, limit(requests, per)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: Duration = Duration::from_secs(7);

    #[test]
    fn the_settings_replace_single_defaults_or_all() {
        let read = |set| {
            let quotas = Reader::from_pairs([("API_LIMITS", set)]).read(Quotas::read);
            let quotas = quotas.unwrap();
            [Policy::LogInByAddress, Policy::LogInByAccount].map(|policy| quotas.of(policy))
        };
        let [defaults, changed] = [limit(10, Duration::from_secs(60)), limit(3, SEVEN)];
        let hour = limit(50, Duration::from_secs(60 * 60));
        assert_eq!(read(""), [defaults, hour]);
        assert_eq!(read("log-in-by-address=3/7"), [changed, hour]);
        assert_eq!(
            read("all=9/7, log-in-by-address=3/7"),
            [changed, limit(9, SEVEN)]
        );
    }

    #[test]
    fn what_is_no_limit_is_told() {
        for wrong in [
            "log-in=1/1",
            "log-in-by-address",
            "log-in-by-address=0/1",
            "log-in-by-address=1/86401",
            "log-in-by-address=1",
            "log-in-by-address=1/1/1",
        ] {
            let told = Reader::from_pairs([("API_LIMITS", wrong)]).read(Quotas::read);
            let told = told.unwrap_err().to_string();
            assert!(
                told.contains(wrong) && told.contains("sign-up-by-account"),
                "{told}"
            );
        }
    }
}

//! What registries do wrong for a while, as rules of the embedded registry's own plan (issue "Registry truth").
//!
//! A spell of trouble begins at one request and ends by the clock; at its end the registry is as it was before.

use std::time::Duration;

use tidegate::embedded::registry::{Auth, BearerAuth, Credentials, Habit, RegistryServer};

mod rules;

/// How long a token of [`Lock::Token`] is good: less than most stories last.
const TOKEN_LIFE: Duration = Duration::from_secs(12);
/// A token that expires all the time.
const TOKEN_LIFE_SHORT: Duration = Duration::from_secs(2);

/// How the registry of a story asks for a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Not at all.
    Open,
    /// By a password.
    Password,
    /// By tokens that are given for a password.
    Token,
}

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 429 to everything, with so many seconds to wait, or without.
    Throttled(Option<u32>),
    /// This 5xx to everything.
    Down(u16),
    /// 429 to every second request.
    ThrottledNowAndThen,
    /// 403 to everything.
    Forbidden,
    /// 403 for every tag that is not there, as registries that hide what one may not see.
    ForbiddenForMissing,
    /// 404 `NAME_UNKNOWN` to tag lists.
    NameUnknown,
    /// 404 `MANIFEST_UNKNOWN` to manifests that are there, as of a registry whose storage lags.
    ManifestUnknown,
    /// Manifests break off, though their length was told.
    ManifestBreaksOff,
    /// Half of a manifest, as if it were the whole.
    HalfAManifest,
    /// A web page with status 200 to everything.
    WebPage,
    /// Another digest in the header than the manifest has.
    WrongDigest,
    /// Every answer is late.
    Slow,
    /// Tag lists name a next page, and that one fails.
    ListBreaksOff,
    /// Every second tag list is empty.
    ListFlaps,
    /// Tokens are wanted, and good for two seconds.
    TokensExpire,
    /// Tokens are wanted, and nobody gives any.
    TokenServerDown,
    /// Tokens are wanted, and given to nobody.
    TokensRefused,
    /// The token endpoint answers with a web page.
    TokenWebPage,
    /// As a hosted registry is.
    Like(Habit),
}

/// When which trouble comes, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// Begins with this request of a controller.
    pub from: u64,
    pub lasts: Duration,
    pub trouble: Trouble,
}

/// Every trouble but the habits.
pub const TROUBLES: [Trouble; 21] = [
    Trouble::Throttled(None),
    Trouble::Throttled(Some(3)),
    Trouble::Throttled(Some(30)),
    Trouble::Down(500),
    Trouble::Down(503),
    Trouble::ThrottledNowAndThen,
    Trouble::Forbidden,
    Trouble::ForbiddenForMissing,
    Trouble::NameUnknown,
    Trouble::ManifestUnknown,
    Trouble::ManifestBreaksOff,
    Trouble::HalfAManifest,
    Trouble::WebPage,
    Trouble::WrongDigest,
    Trouble::Slow,
    Trouble::ListBreaksOff,
    Trouble::ListFlaps,
    Trouble::TokensExpire,
    Trouble::TokenServerDown,
    Trouble::TokensRefused,
    Trouble::TokenWebPage,
];

/// Every registry whose habits are known.
pub const HABITS: [Habit; 13] = [
    Habit::DockerHub,
    Habit::Ghcr,
    Habit::Ecr,
    Habit::PublicEcr,
    Habit::Gar,
    Habit::Quay,
    Habit::QuayNewer,
    Habit::Harbor,
    Habit::GitLab,
    Habit::Artifactory,
    Habit::Nexus,
    Habit::Zot,
    Habit::Acr,
];

// === impl Lock ===

impl Lock {
    /// Who may read, by this password.
    pub fn auth(self, password: &str) -> Auth {
        let credentials = Credentials::new("ci", password);
        match self {
            Self::Open => Auth::Open,
            Self::Password => Auth::Basic(credentials),
            Self::Token => {
                Auth::Bearer(BearerAuth { token_ttl: TOKEN_LIFE, ..BearerAuth::for_user(credentials) })
            }
        }
    }
}

// === impl Trouble ===

impl Trouble {
    /// The name that it is counted under.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Throttled(None) => "registry: 429",
            Self::Throttled(Some(_)) => "registry: 429 with Retry-After",
            Self::ThrottledNowAndThen => "registry: 429 now and then",
            Self::Down(500) => "registry: 500",
            Self::Down(_) => "registry: 503",
            Self::Forbidden => "registry: 403",
            Self::ForbiddenForMissing => "registry: 403 for missing",
            Self::NameUnknown => "registry: NAME_UNKNOWN",
            Self::ManifestUnknown => "registry: MANIFEST_UNKNOWN",
            Self::ManifestBreaksOff | Self::HalfAManifest => "registry: body cut off",
            Self::WebPage => "registry: web page",
            Self::WrongDigest => "registry: wrong digest",
            Self::Slow => "registry: slow",
            Self::ListBreaksOff => "registry: list breaks off",
            Self::ListFlaps => "registry: list flaps",
            Self::TokensExpire => "registry: tokens expire",
            Self::TokenServerDown => "registry: token server down",
            Self::TokensRefused | Self::TokenWebPage => "registry: tokens refused",
            Self::Like(_) => "registry: habit of a vendor",
        }
    }

    /// Nothing at all can be told while it lasts. All tokens are revoked when it begins.
    pub fn hides_everything(self, lock: Lock) -> bool {
        match self {
            Self::Throttled(_) | Self::Down(_) | Self::Forbidden | Self::WebPage => true,
            Self::TokenServerDown | Self::TokensRefused | Self::TokenWebPage => lock != Lock::Password,
            _ => false,
        }
    }

    /// How long it may last. A candidate of which everything is Missing for an interval is Gone, and comes back when it is
    /// pushed again (design §4): a registry must not lie for so long.
    pub fn longest(self) -> Duration {
        match self {
            Self::ManifestUnknown => Duration::from_secs(8),
            _ => Duration::from_secs(40),
        }
    }

    fn wants_tokens(self) -> bool {
        matches!(self, Self::TokensExpire | Self::TokenServerDown | Self::TokensRefused | Self::TokenWebPage)
    }

    /// It begins.
    pub fn begin(self, registry: &RegistryServer, lock: Lock) {
        if self.wants_tokens() {
            registry.revoke_tokens();
            if lock == Lock::Open {
                let bearer = BearerAuth { token_ttl: TOKEN_LIFE_SHORT, ..BearerAuth::anonymous() };
                registry.set_auth(Auth::Bearer(bearer));
            }
        }
        match self {
            Self::Like(habit) => registry.adopt(habit),
            _ => self.rules().into_iter().for_each(|rule| registry.plan(rule)),
        }
    }

    /// It is over, for this and every other.
    pub fn end(self, registry: &RegistryServer, lock: Lock) {
        registry.clear_plan();
        if self.wants_tokens() && lock == Lock::Open {
            registry.set_auth(Auth::Open);
        }
    }
}

// === impl Spell ===

impl Spell {
    /// A spell of any trouble, that begins before request `until`.
    pub fn by_chance(rng: &mut fastrand::Rng, until: u64) -> Self {
        let habit = HABITS[rng.usize(0..HABITS.len())];
        let trouble = TROUBLES.get(rng.usize(0..TROUBLES.len() + 4)).copied();
        let trouble = trouble.unwrap_or(Trouble::Like(habit));
        let longest = u64::try_from(trouble.longest().as_millis()).unwrap();
        let lasts = Duration::from_millis(rng.u64(500..longest));
        Self { from: rng.u64(1..until), lasts, trouble }
    }
}

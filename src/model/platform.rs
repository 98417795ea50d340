//! Platforms, normalised and compared as containerd's strict matcher does (containerd/platforms
//! `database.go`, `compare.go`): arm64 is never satisfied by arm/v7, nor amd64 by 386 or amd64/v3.

use std::fmt;
use std::str::FromStr;

/// Longest text accepted for a platform: the longest real one (`windows(10.0.20348.1234)/amd64`) is 31 bytes.
pub const PLATFORM_MAX_BYTES: usize = 64;

/// A platform in normal form: lower case, aliases resolved, default variants removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
    os_version: Option<String>,
}

/// Why a string is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: write os/architecture or os/architecture/variant, for example linux/arm64")]
pub struct NotAPlatform(pub String);

// === impl Platform ===

impl Platform {
    /// A platform from the four fields of an OCI descriptor or image config, normalised. `None` when os or
    /// architecture is empty or `unknown` (what BuildKit writes on attestations).
    pub fn from_parts(os: &str, architecture: &str, variant: &str, os_version: &str) -> Option<Self> {
        let os = match os.to_ascii_lowercase().as_str() {
            "" | "unknown" => return None,
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) =
            normal(&architecture.to_ascii_lowercase(), &variant.to_ascii_lowercase())?;
        let os_version = (os == "windows" && !os_version.is_empty()).then(|| first_three_parts(os_version));
        Some(Self { os, architecture, variant, os_version })
    }

    /// The operating system, as in `GOOS`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture, as in `GOARCH`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant, when it is not the architecture's default.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// The first three parts of the Windows version, when it is one and says so.
    pub fn os_version(&self) -> Option<&str> {
        self.os_version.as_deref()
    }

    /// True when an image of platform `self` may run where `required` is asked for: equal after
    /// normalising; a Windows version counts only when one is asked for.
    pub fn satisfies(&self, required: &Self) -> bool {
        self.os == required.os
            && self.architecture == required.architecture
            && self.variant == required.variant
            && (required.os_version.is_none() || self.os_version == required.os_version)
    }
}

/// Normal architecture and variant; `None` for an empty or unknown architecture.
fn normal(architecture: &str, variant: &str) -> Option<(String, Option<String>)> {
    let (architecture, variant) = match (architecture, variant) {
        ("" | "unknown", _) => return None,
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    Some((architecture.to_owned(), (!variant.is_empty()).then(|| variant.to_owned())))
}

/// `10.0.20348.1234` → `10.0.20348`: the build number that decides whether a Windows image starts.
fn first_three_parts(version: &str) -> String {
    version.split('.').take(3).collect::<Vec<_>>().join(".")
}

impl FromStr for Platform {
    type Err = NotAPlatform;

    fn from_str(text: &str) -> Result<Self, NotAPlatform> {
        let error = || NotAPlatform(text.to_owned());
        let part_is_sound = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if text.len() > PLATFORM_MAX_BYTES || !parts.iter().all(part_is_sound) {
            return Err(error());
        }
        match parts.as_slice() {
            [os, architecture] => Self::from_parts(os, architecture, "", ""),
            [os, architecture, variant] => Self::from_parts(os, architecture, variant, ""),
            _ => None,
        }
        .ok_or_else(error)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_platform() -> impl Strategy<Value = Platform> {
        let os = prop_oneof![Just("linux"), Just("Linux"), Just("windows"), Just("macos"), Just("freebsd")];
        let architecture = prop_oneof![
            Just("amd64"),
            Just("x86_64"),
            Just("x86-64"),
            Just("386"),
            Just("i386"),
            Just("arm64"),
            Just("aarch64"),
            Just("arm"),
            Just("armhf"),
            Just("armel"),
            Just("s390x"),
            Just("RISCV64"),
        ];
        let variant = prop_oneof![
            Just(""),
            Just("v1"),
            Just("v2"),
            Just("v3"),
            Just("5"),
            Just("6"),
            Just("7"),
            Just("v7"),
            Just("8"),
            Just("v8"),
            Just("V9"),
        ];
        (os, architecture, variant).prop_map(|(os, architecture, variant)| {
            Platform::from_parts(os, architecture, variant, "").unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_normal_form(platform in any_platform()) {
            prop_assert_eq!(platform.to_string().parse::<Platform>(), Ok(platform.clone()));
            let again = Platform::from_parts(
                platform.os(), platform.architecture(), platform.variant().unwrap_or_default(), "");
            prop_assert_eq!(again, Some(platform));
        }

        #[test]
        fn without_a_windows_version_satisfying_is_being_equal(one in any_platform(), other in any_platform()) {
            prop_assert_eq!(one.satisfies(&other), one == other);
            prop_assert_eq!(one.satisfies(&other), other.satisfies(&one));
        }

        #[test]
        fn amd64_is_satisfied_by_its_baseline_alone(platform in any_platform()) {
            if platform.satisfies(&"linux/amd64".parse().unwrap()) {
                prop_assert_eq!(platform.to_string(), "linux/amd64");
            }
        }
    }

    #[test]
    fn aliases_have_one_normal_form() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal, "{text}");
        }
    }

    #[test]
    fn matching_is_strict() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
        assert!(!platform("linux/386").satisfies(&platform("linux/amd64")));
        assert!(!platform("linux/amd64/v3").satisfies(&platform("linux/amd64")));
        assert!(!platform("linux/arm/v7").satisfies(&platform("linux/arm64")));
    }

    #[test]
    fn windows_compares_three_parts_when_asked() {
        let seen = Platform::from_parts("windows", "amd64", "", "10.0.20348.1234").unwrap();
        let same = Platform::from_parts("windows", "amd64", "", "10.0.20348.99").unwrap();
        let other = Platform::from_parts("windows", "amd64", "", "10.0.17763.1").unwrap();
        assert!(seen.satisfies(&same) && seen.satisfies(&"windows/amd64".parse().unwrap()));
        assert!(!seen.satisfies(&other));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "unknown/unknown", "linux/am d64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}

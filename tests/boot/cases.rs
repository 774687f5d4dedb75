//! The cases, as data: what the image has, what user-data says, what is wrong with the world, which boots
//! follow each other, and how it must end.

use crate::Failed;
use std::path::PathBuf;
use std::time::Duration;

/// One story of an instance.
pub struct Case {
    /// How it is called on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// Which package the image has; without one, user-data installs the deb.
    pub package: Option<Package>,
    /// Whether the unit is enabled in the image.
    pub enabled: bool,
    /// Where the configuration comes from.
    pub configured: Configured,
    /// Lines in the configuration's `[files]`.
    pub files: &'static str,
    /// Lines before all sections of the configuration.
    pub settings: &'static str,
    /// Whether user-data starts the unit.
    pub user_data: UserData,
    /// Whether the firmware tells the instance-id, as on Nitro.
    pub firmware: bool,
    /// Whether that is the machine's own, and it is the machine that shows EC2; else a folder stands for it.
    pub own_firmware: bool,
    /// What is wrong with the world.
    pub trouble: Trouble,
    /// What else is different about the image.
    pub image: Image,
    /// The boots that follow each other.
    pub boots: &'static [Boot],
    /// How each of them ends.
    pub end: End,
}

/// The form in which we are installed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Package {
    /// By dpkg.
    Deb,
    /// By rpm.
    Rpm,
}

/// Where the configuration comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Configured {
    /// It is in the image.
    InImage,
    /// User-data brings it.
    ByUserData,
    /// There is none.
    Not,
}

/// What user-data does beside bringing a configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UserData {
    /// Nothing; there may be none.
    Quiet,
    /// Cloud-config whose runcmd starts the unit.
    Starts,
    /// A shell script that starts the unit.
    Script,
    /// What the package has as an example, with what its README tells to replace. More than one part are joined by
    /// its multipart.py; theirs are in `guest`.
    Example(&'static [&'static str]),
}

/// What is wrong with the world.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The process is killed while it redeems.
    Crash,
    /// Conjur refuses connections for so long.
    ConjurDown(Duration),
    /// The metadata service resets the first connections, of cloud-init and of the agent.
    ImdsRefuses,
    /// The instance has no profile for so long.
    NoProfile(Duration),
    /// Nothing.
    Nothing,
    /// Conjur refuses the token.
    Refused,
}

/// What else is different about the image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Image {
    /// The packaged drop-in for a group is in use.
    Group,
    /// `/etc` is read-only once cloud-init has done its part.
    ReadOnlyEtc,
    /// Nothing.
    Usual,
}

/// One boot of a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Boot {
    /// The disk is that of the boot before, and so is the instance.
    Again,
    /// The boot before ended in `cloud-init clean`, an image was made of its disk, and the instance is another one.
    Baked,
    /// The disk is that of the boot before, and the instance another one.
    Cloned,
    /// The first one.
    First,
}

/// How a boot ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// With an identity that works.
    Enrolled,
    /// With this exit code and class.
    Failed(u8, &'static str),
    /// The unit is skipped, and what needs the identity does not start.
    Skipped,
}

const USUAL: Case = Case {
    name: "",
    about: "",
    package: Some(Package::Deb),
    enabled: true,
    configured: Configured::InImage,
    files: "",
    settings: "",
    user_data: UserData::Quiet,
    firmware: true,
    own_firmware: false,
    trouble: Trouble::Nothing,
    image: Image::Usual,
    boots: &[Boot::First],
    end: End::Enrolled,
};

/// User-data downloads the package and installs it.
const DOWNLOADED: Case = Case {
    package: None,
    configured: Configured::ByUserData,
    user_data: UserData::Example(&["download.yaml"]),
    ..USUAL
};

/// Every case.
pub const CASES: &[Case] = &[
    Case { name: "baked", about: "the image has package and configuration; nothing else is needed", ..USUAL },
    Case {
        name: "user-data",
        about: "user-data brings the configuration and starts a unit that is not enabled",
        enabled: false,
        configured: Configured::ByUserData,
        user_data: UserData::Starts,
        ..USUAL
    },
    Case {
        name: "user-data-script",
        about: "the same by a shell script",
        enabled: false,
        configured: Configured::ByUserData,
        user_data: UserData::Script,
        ..USUAL
    },
    Case {
        name: "both",
        about: "the unit is enabled, user-data brings the configuration and starts it as well",
        configured: Configured::ByUserData,
        user_data: UserData::Starts,
        ..USUAL
    },
    Case {
        name: "reboot",
        about: "the second and the third boot do nothing, and ask nobody",
        boots: &[Boot::First, Boot::Again, Boot::Again],
        ..USUAL
    },
    Case {
        name: "clone",
        about: "an image of an enrolled instance, started as another one, enrolls anew",
        boots: &[Boot::First, Boot::Cloned, Boot::Again],
        ..USUAL
    },
    Case {
        name: "bake",
        about: "cloud-init clean leaves nothing of an enrollment in an image, and what is made of it enrolls",
        boots: &[Boot::First, Boot::Baked, Boot::Again],
        ..USUAL
    },
    Case {
        name: "no-firmware",
        about: "the firmware tells no instance-id, so the metadata service does; a reboot keeps the identity",
        firmware: false,
        boots: &[Boot::First, Boot::Again],
        ..USUAL
    },
    Case {
        name: "conjur-down",
        about: "Conjur is down for three minutes, and what needs the identity starts after that",
        trouble: Trouble::ConjurDown(Duration::from_secs(180)),
        ..USUAL
    },
    Case {
        name: "no-profile",
        about: "the instance has no profile for its first ten seconds",
        trouble: Trouble::NoProfile(Duration::from_secs(10)),
        ..USUAL
    },
    Case {
        name: "imds-refuses",
        about: "the metadata service resets the first connections",
        trouble: Trouble::ImdsRefuses,
        ..USUAL
    },
    Case {
        name: "read-only-etc",
        about: "/etc cannot be written, so the files are in /run, and a reboot enrolls anew",
        files: "fallback_dir = \"/run/imprint\"\n",
        image: Image::ReadOnlyEtc,
        boots: &[Boot::First, Boot::Again],
        ..USUAL
    },
    Case {
        name: "group",
        about: "with the packaged drop-in, a group may read the identity, and a service that is not root does",
        files: "group = \"imprint\"\nmode = \"0640\"\n",
        image: Image::Group,
        ..USUAL
    },
    Case {
        name: "crash",
        about: "the process is killed while it redeems; systemd starts it again",
        trouble: Trouble::Crash,
        ..USUAL
    },
    Case {
        name: "refused",
        about: "Conjur says no: the failure is seen in status, journal, console and exit code",
        trouble: Trouble::Refused,
        end: End::Failed(77, "refused"),
        ..USUAL
    },
    Case {
        name: "misconfigured",
        about: "a key that is not known: the same, without a request",
        settings: "no_such_setting = true\n",
        end: End::Failed(78, "config"),
        ..USUAL
    },
    Case {
        name: "unconfigured",
        about: "an image that nobody configured boots in peace, and what needs the identity fails",
        configured: Configured::Not,
        end: End::Skipped,
        ..USUAL
    },
    Case {
        name: "rpm",
        about: "the baked image once more, from the rpm",
        package: Some(Package::Rpm),
        ..USUAL
    },
    Case {
        name: "example-baked",
        about: "baked.yaml of the examples as user-data",
        configured: Configured::ByUserData,
        user_data: UserData::Example(&["baked.yaml"]),
        ..USUAL
    },
    Case {
        name: "example-baked-script",
        about: "baked.sh of the examples as user-data",
        configured: Configured::ByUserData,
        user_data: UserData::Example(&["baked.sh"]),
        ..USUAL
    },
    Case {
        name: "example-baked-parts",
        about: "baked.yaml behind two parts of others, which do what they want too",
        configured: Configured::ByUserData,
        user_data: UserData::Example(&["theirs.yaml", "theirs.sh", "baked.yaml"]),
        ..USUAL
    },
    Case {
        name: "example-download",
        about: "download.yaml of the examples, in an image without the package",
        ..DOWNLOADED
    },
    Case {
        name: "example-download-script",
        about: "download.sh of the examples, in an image without the package",
        user_data: UserData::Example(&["download.sh"]),
        ..DOWNLOADED
    },
    Case {
        name: "example-download-parts",
        about: "download.yaml behind two parts of others, which do what they want too",
        user_data: UserData::Example(&["theirs.yaml", "theirs.sh", "download.yaml"]),
        ..DOWNLOADED
    },
];

impl Case {
    /// Whether the configuration comes after what needs the identity has been started, and failed: with the last stage of
    /// cloud-init. It is started once more then.
    pub fn is_late(&self) -> bool {
        let UserData::Example(parts) = self.user_data else { return false };
        self.package.is_none() || parts.iter().all(|part| part.ends_with(".sh"))
    }
}

impl Trouble {
    /// How long it lasts.
    pub fn lasts(self) -> Duration {
        match self {
            Self::ConjurDown(span) | Self::NoProfile(span) => span,
            Self::Crash | Self::ImdsRefuses | Self::Nothing | Self::Refused => Duration::ZERO,
        }
    }
}

impl Package {
    /// `deb` or `rpm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }

    /// The agent's package for this machine, as `make package` leaves it; or what `IMPRINT_BOOT_DEB` or
    /// `IMPRINT_BOOT_RPM` names.
    pub fn file(self) -> Result<PathBuf, Failed> {
        if let Some(path) = std::env::var_os(format!("IMPRINT_BOOT_{}", self.name().to_uppercase())) {
            return Ok(path.into());
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/package");
        let architecture = match (self, std::env::consts::ARCH) {
            (Self::Deb, "x86_64") => "amd64",
            (Self::Deb, "aarch64") => "arm64",
            (_, other) => other,
        };
        let is_ours = |name: &str| {
            let after = name.strip_prefix("imprint").and_then(|rest| rest.strip_prefix(['_', '-']));
            after.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                && name.ends_with(&format!("{architecture}.{}", self.name()))
        };
        let mut found = Vec::new();
        for entry in
            std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}; run make package", folder.display()))?
        {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_ours) {
                found.push(entry.path());
            }
        }
        match found.as_slice() {
            [one] => Ok(std::fs::canonicalize(one)?),
            several => Err(format!("{} packages of imprint in {}", several.len(), folder.display()).into()),
        }
    }
}

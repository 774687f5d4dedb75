//! A machine's sysfs and procfs give what Ohai and Facter report of the same machine.

use super::*;
use imprint_core::client_data::inventory::Inventory;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// The machine of `tests/facts`, as its kernel shows it.
pub(crate) fn machine() -> (tempfile::TempDir, Roots) {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, mode: u32, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    put("sys/class/dmi/id/product_uuid", 0o400, "0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60\n");
    put("sys/class/dmi/id/product_serial", 0o400, "7QX4K93\n");
    put("sys/class/dmi/id/board_serial", 0o400, ".7QX4K93.CNWS3006B2011M.\n");
    put("sys/class/dmi/id/board_asset_tag", 0o444, "i-0123456789abcdef0\n");
    put("etc/machine-id", 0o444, "5c9d2e7f1a3b4c6d8e0f1a2b3c4d5e6f\n");
    // eth1 and eth2 are in a bond, and carry its address; ib0 is no Ethernet.
    for (name, kind, address, device) in [
        ("lo", "772", "00:00:00:00:00:00", false),
        ("eth0", "1", "02:00:5e:00:53:01", true),
        ("eth1", "1", "02:00:5e:00:53:02", true),
        ("eth2", "1", "02:00:5e:00:53:02", true),
        ("bond0", "1", "02:00:5e:00:53:02", false),
        ("docker0", "1", "02:42:9d:1e:7f:33", false),
        ("ib0", "32", "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1", true),
    ] {
        put(&format!("sys/class/net/{name}/address"), 0o444, &format!("{address}\n"));
        put(&format!("sys/class/net/{name}/type"), 0o444, &format!("{kind}\n"));
        if device {
            put(&format!("sys/class/net/{name}/device/vendor"), 0o444, "0x1af4\n");
        }
    }
    put(
        "proc/net/bonding/bond0",
        0o444,
        "Ethernet Channel Bonding Driver: v6.1\n\nBonding Mode: fault-tolerance (active-backup)\n\n\
         Slave Interface: eth1\nMII Status: up\nPermanent HW addr: 02:00:5e:00:53:02\nSlave queue ID: 0\n\n\
         Slave Interface: eth2\nMII Status: up\nPermanent HW addr: 02:00:5e:00:53:03\nSlave queue ID: 0\n",
    );
    let at = |name: &str| dir.path().join(name);
    let roots = Roots { sys: at("sys"), proc: at("proc"), machine_id: at("etc/machine-id") };
    (dir, roots)
}

fn value(roots: &Roots, fact: &Fact) -> Result<String, String> {
    let found = read(roots).into_iter().find(|found| found.fact == *fact).unwrap();
    found.value.map(|value| {
        let mut values = Values::default();
        values.put(fact.clone(), &value).unwrap();
        values.expose(fact).unwrap().to_owned()
    })
}

#[test]
fn the_machine_tells_what_the_tools_report_of_it() {
    let (_dir, roots) = machine();
    for name in ["ohai.json", "facter.json"] {
        let path = format!("{}/../tests/facts/{name}", env!("CARGO_MANIFEST_DIR"));
        let reported = Inventory::parse(&fs::read(path).unwrap()).unwrap().named();
        let mut compared = 0;
        for fact in reported.facts().filter(|fact| **fact != Fact::ImageId) {
            assert_eq!(value(&roots, fact).as_deref(), Ok(reported.expose(fact).unwrap()), "{name}: {fact}");
            compared += 1;
        }
        assert!(compared >= 5, "{name}: {compared}");
    }
}

#[test]
fn who_may_read_and_what_is_not_there() {
    let (dir, roots) = machine();
    let uuid = dir.path().join("sys/class/dmi/id/product_uuid");
    let readers = |mode: u32| {
        fs::set_permissions(&uuid, fs::Permissions::from_mode(mode)).unwrap();
        read(&roots).into_iter().find(|found| found.fact == Fact::ProductUuid).unwrap().readers
    };
    assert_eq!(readers(0o440), Some(Readers::Group));
    assert_eq!(readers(0o444), Some(Readers::Everybody));
    assert_eq!(readers(0o400), Some(Readers::OwnerAlone));
    fs::remove_file(&uuid).unwrap();
    assert_eq!(value(&roots, &Fact::ProductUuid), Err("the firmware does not tell one".to_owned()));
    fs::write(&uuid, [0xff, 0xfe]).unwrap();
    assert_eq!(value(&roots, &Fact::ProductUuid), Err("is no text".to_owned()));
    fs::write(&uuid, "Not Settable").unwrap();
    assert_eq!(value(&roots, &Fact::ProductUuid), Err("is not a UUID".to_owned()));
    fs::write(&uuid, "x".repeat(5000)).unwrap();
    assert!(value(&roots, &Fact::ProductUuid).unwrap_err().contains("more than 4096 bytes"));
    fs::write(&roots.machine_id, "uninitialized\n").unwrap();
    assert_eq!(value(&roots, &Fact::MachineId), Err("is not 32 hex digits".to_owned()));
    let nothing = Roots { sys: "/nowhere".into(), proc: "/nowhere".into(), machine_id: "/nowhere".into() };
    assert!(read(&nothing).iter().all(|found| found.value.is_err()));
}

#[test]
fn values_are_shown_on_request_alone() {
    let (_dir, roots) = machine();
    let secrets = ["0f5a3c1e", "7QX4K93", "5c9d2e7f", "02:00:5e", "i-0123"];
    let hidden = Shown::new(read(&roots), false);
    for text in [hidden.to_string(), hidden.to_json()] {
        assert!(text.contains("product_uuid"), "{text}");
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    }
    let revealed = Shown::new(read(&roots), true);
    for text in [revealed.to_string(), revealed.to_json()] {
        assert!(secrets.iter().all(|secret| text.contains(secret)), "{text}");
    }
    assert!(!revealed.to_string().contains("needs a secret"));
    // What is printed is what can be sealed with.
    let taken = Inventory::parse(revealed.to_json().as_bytes()).unwrap().named();
    assert_eq!(taken.facts().count(), 6);
    let nothing = Roots { sys: "/nowhere".into(), proc: "/nowhere".into(), machine_id: "/nowhere".into() };
    assert!(Shown::new(read(&nothing), true).to_string().contains("needs a secret"));
}

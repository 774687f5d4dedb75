//! Ohai and Facter report the same machine in two shapes; both give the same values.

use super::*;

fn sample(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../tests/facts/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A fact, as a person calls it, in a text that is an inventory.
fn taken(text: &str, called: &str) -> Result<String, Error> {
    let inventory = Inventory::parse(text.as_bytes())?;
    let fact = inventory.called(called)?;
    let mut values = Values::default();
    inventory.take(&fact, &mut values)?;
    Ok(format!("{fact}={}", values.expose(&fact).unwrap()))
}

#[track_caller]
fn check(text: &str, called: &str, wanted: &str) {
    assert_eq!(taken(text, called).unwrap_or_else(|e| e.to_string()), wanted);
}

#[test]
fn both_tools_give_one_value() {
    let (ohai, facter) = (sample("ohai.json"), sample("facter.json"));
    for (in_ohai, in_facter, wanted) in [
        ("product_uuid", "product_uuid", "product_uuid=0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60"),
        ("dmi.system.uuid", "dmi.product.uuid", "product_uuid=0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60"),
        ("dmi.system.serial_number", "dmi.product.serial_number", "product_serial=7QX4K93"),
        ("board_serial", "dmi.board.serial_number", "board_serial=.7QX4K93.CNWS3006B2011M."),
        ("macs", "macs", "macs=02:00:5e:00:53:01,02:00:5e:00:53:02,02:00:5e:00:53:03"),
        ("instance_id", "ec2_metadata.instance-id", "instance_id=i-0123456789abcdef0"),
        ("ec2.ami_id", "image_id", "image_id=ami-0fedcba9876543210"),
    ] {
        check(&ohai, in_ohai, wanted);
        check(&facter, in_facter, wanted);
    }
    check(&ohai, "machine_id", "machine_id=5c9d2e7f1a3b4c6d8e0f1a2b3c4d5e6f");
    // Facter has no such fact.
    check(&facter, "machine_id", "it has no machine_id");
    let named = |text: &str| Inventory::parse(text.as_bytes()).unwrap().named().facts().count();
    assert_eq!((named(&ohai), named(&facter)), (7, 6));
}

#[test]
fn paths() {
    let (ohai, facter) = (sample("ohai.json"), sample("facter.json"));
    check(
        &facter,
        "networking.interfaces.eth0.mac",
        "facter:networking.interfaces.eth0.mac=02:00:5e:00:53:01",
    );
    check(&facter, "facter:processors.count", "facter:processors.count=4");
    check(&facter, "facter:is_virtual", "facter:is_virtual=true");
    check(
        &facter,
        "networking.interfaces.bond0.bindings.0.address",
        "facter:networking.interfaces.bond0.bindings.0.address=198.51.100.10",
    );
    check(&ohai, "ohai:cpu.total", "ohai:cpu.total=4");
    check(
        &ohai,
        "dmi.system.all_records.0.Product Name",
        "\"dmi.system.all_records.0.Product Name\" must be board_serial, image_id, instance_id, machine_id, macs, product_serial, product_uuid, or a path such as ohai:dmi.system.version or facter:dmi.product.name",
    );
    check(
        &ohai,
        "network.interfaces.eth0.addresses",
        "ohai:network.interfaces.eth0.addresses is not a single value",
    );
    check(&ohai, "facter:is_virtual", "it has no facter:is_virtual");
    check(&ohai, "ohai:cpu.9.mhz", "it has no ohai:cpu.9.mhz");
    check(&ohai, "ohai:cpu.0.flags.7", "it has no ohai:cpu.0.flags.7");
    let vlan = r#"{"networking":{"interfaces":{"eth0":{"mac":"a"},"eth0.100":{"mac":"b"}}}}"#;
    check(vlan, "networking.interfaces.eth0.100.mac", "facter:networking.interfaces.eth0.100.mac=b");
}

#[test]
fn what_the_tools_stores_wrap_around() {
    let check = |text: String| check(&text, "product_serial", "product_serial=7QX4K93");
    check(format!(r#"{{"name":"node-4","chef_environment":"prod","automatic":{}}}"#, sample("ohai.json")));
    check(format!(r#"{{"name":"node-4","values":{},"timestamp":"x"}}"#, sample("facter.json")));
    check(r#"{"imprint_facts":1,"facts":{"product_serial":{"form":"text","value":"7QX4K93"}}}"#.to_owned());
}

#[test]
fn which_interfaces_have_no_device() {
    for (name, wanted) in [
        ("eth0", false),
        ("ens5", false),
        ("enp0s31f6", false),
        ("eno1np0", false),
        ("wlan0", false),
        ("usb0", false),
        ("lo", true),
        ("bond0", true),
        ("br0", true),
        ("br-3f1c", true),
        ("docker0", true),
        ("veth1a2b", true),
        ("virbr0", true),
        ("cali0123", true),
        ("tun0", true),
        ("wg0", true),
        ("eth0.100", true),
        ("eth0:1", true),
    ] {
        assert_eq!(is_virtual(name), wanted, "{name}");
    }
}

#[test]
fn what_is_no_inventory() {
    check("", "macs", "it is not JSON: EOF while parsing a value at line 1 column 0");
    check("[]", "macs", Error::Kind.to_string().as_str());
    check(r#"{"hello":1}"#, "macs", Error::Kind.to_string().as_str());
    check(r#"{"networking":7}"#, "macs", "it has no macs");
    check(r#"{"networking":{"interfaces":{"lo":{}}}}"#, "macs", "it has no macs");
    check(
        r#"{"network":{"interfaces":{"eth0":{"encapsulation":"Ethernet","addresses":[]}}}}"#,
        "macs",
        "it has no macs",
    );
    check(r#"{"imprint_facts":1}"#, "macs", "it has no macs");
    check(r#"{"imprint_facts":1,"facts":{"macs":{"value":["a"]}}}"#, "macs", "macs is not a single value");
    check(
        r#"{"networking":{},"dmi":{"product":{"uuid":"Not Settable"}}}"#,
        "product_uuid",
        "product_uuid is not a UUID",
    );
    check(&"[".repeat(200), "macs", "it is not JSON: recursion limit exceeded at line 1 column 128");
    let large = " ".repeat(LARGEST + 1);
    assert_eq!(taken(&large, "macs"), Err(Error::TooLarge(LARGEST + 1)));
}

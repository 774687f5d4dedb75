//! To which networks each host is tied (`restricted_to`): the addresses of its instance. A pure function.
//!
//! A key that is shown from anywhere else, stolen or rotated by a token thief, then authenticates nowhere.
//! What a host was tied to is believed for [`BELIEVED`] only: nobody who may pin hosts may also see them, and one
//! that was deleted and enrolled anew between two looks, or came back with a restored Conjur, has lost its pin.
//!
//! It is for fleets whose addresses Conjur sees as they are: behind NAT or a load balancer that tells no
//! addresses, every pinned host would be locked out.

use super::host::Host;
use super::memory::Pinned;
use imprint_core::aws::ec2::{Instance, Life};
use imprint_core::name::{HostId, InstanceId};
use imprint_core::second::Second;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a host that was tied is taken for tied.
pub const BELIEVED: Duration = Duration::from_secs(6 * 60 * 60);

/// What is to be done for the hosts of a factory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pins {
    /// Hosts to tie, with all of their networks.
    pub tie: BTreeMap<HostId, Vec<IpNet>>,
    /// How many are tied as they should be.
    pub tied: usize,
    /// Hosts whose instance EC2 does not know, or knows no address of: left as they are.
    pub without_address: Vec<HostId>,
}

/// Compares what hosts should be tied to with what they were last tied to.
///
/// `hosts` must have been listed in this very run: a load of policy would make a host that is not there.
#[must_use]
pub fn pins(
    hosts: &[Host],
    instances: &BTreeMap<InstanceId, Instance>,
    pinned: &Pinned,
    now: Second,
) -> Pins {
    // A time that lies ahead was told by a wrong clock.
    let is_believed = |at: Second| at <= now && now.since(at) < BELIEVED;
    let mut pins = Pins::default();
    for host in hosts {
        let networks = instances.get(&host.instance).map(networks).unwrap_or_default();
        if networks.is_empty() {
            pins.without_address.push(host.id.clone());
        } else if pinned.get(&host.id).is_some_and(|pin| pin.to == networks && is_believed(pin.at)) {
            pins.tied += 1;
        } else {
            pins.tie.insert(host.id.clone(), networks);
        }
    }
    pins
}

/// Each address of the instance as a network of its own, in order.
pub(super) fn networks(instance: &Instance) -> Vec<IpNet> {
    if matches!(instance.life, Life::Terminated | Life::ShuttingDown) {
        return Vec::new();
    }
    let mut networks: Vec<IpNet> = instance.addresses.iter().copied().map(IpNet::from).collect();
    networks.sort();
    networks.dedup();
    networks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::memory::Pin;

    fn instance(life: Life, addresses: &[&str]) -> Instance {
        Instance {
            id: "i-1".parse().unwrap(),
            account_id: "123456789012".to_owned(),
            life,
            ami: None,
            subnet: None,
            vpc: None,
            instance_profile: None,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            attached_at: None,
            tags: BTreeMap::new(),
        }
    }

    #[test]
    fn one_host() {
        let host = Host { id: "app/hosts/1/eu/i-1".parse().unwrap(), instance: "i-1".parse().unwrap() };
        let now = Second::from_unix(1_800_000_000);
        let check_at = |known: Option<Instance>, pinned: Option<&[&str]>, at: Second, wanted: &str| {
            let instances = known.map(|known| (host.instance.clone(), known)).into_iter().collect();
            let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
            let pin = |to: &[&str]| (host.id.clone(), Pin { to: nets(to), at });
            let pinned = pinned.map(pin).into_iter().collect();
            let pins = pins(std::slice::from_ref(&host), &instances, &pinned, now);
            let found = match (pins.tie.first_key_value(), pins.tied, pins.without_address.len()) {
                (Some((_, nets)), 0, 0) => {
                    format!("tie to {}", nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(" "))
                }
                (None, 1, 0) => "tied".to_owned(),
                (None, 0, 1) => "no address".to_owned(),
                other => panic!("{other:?}"),
            };
            assert_eq!(found, wanted);
        };
        let check = |known, pinned, wanted: &str| check_at(known, pinned, now, wanted);
        let running = |addresses| Some(instance(Life::Running, addresses));
        check(running(&["10.0.0.5"]), None, "tie to 10.0.0.5/32");
        check(running(&["10.0.0.5"]), Some(&["10.0.0.5/32"]), "tied");
        check(running(&["10.0.0.6"]), Some(&["10.0.0.5/32"]), "tie to 10.0.0.6/32");
        check(running(&["10.0.0.5", "2001:db8::7"]), None, "tie to 10.0.0.5/32 2001:db8::7/128");
        check(
            running(&["2001:db8::7", "10.0.0.5", "10.0.0.5"]),
            Some(&["10.0.0.5/32", "2001:db8::7/128"]),
            "tied",
        );
        check(Some(instance(Life::Stopped, &["10.0.0.5"])), None, "tie to 10.0.0.5/32");
        check(Some(instance(Life::Pending, &[])), None, "no address");
        check(Some(instance(Life::Terminated, &["10.0.0.5"])), None, "no address");
        check(None, Some(&["10.0.0.5/32"]), "no address");

        // What was tied long ago may be another host of the same name by now.
        let ago = |at: Second, wanted| check_at(running(&["10.0.0.5"]), Some(&["10.0.0.5/32"]), at, wanted);
        ago(now.minus(BELIEVED - Duration::from_secs(1)), "tied");
        ago(now.minus(BELIEVED), "tie to 10.0.0.5/32");
        ago(Second::from_unix(0), "tie to 10.0.0.5/32");
        ago(now.plus(Duration::from_secs(1)), "tie to 10.0.0.5/32");
    }
}

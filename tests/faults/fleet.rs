//! Section L, as far as real servers show it: a wave of machines, each of which meets something.

use crate::check::with_room;
use crate::place::{no_secret, published};
use crate::row::{page, status};
use imprint_e2e::{Machine, Ran};
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::{kms, s3};

/// How many boot at once.
const WAVE: usize = 12;

#[test]
fn a_wave_is_enrolled_through_what_each_server_does_wrong() {
    with_room(|| {
        let site = published();
        let machines: Vec<Machine> = (0..WAVE).map(|_| site.machine("web")).collect();
        site.stack.clear_logs();
        for machine in machines.iter().step_by(3) {
            machine.imds.inject(Fault::on("imds:role", page(404)));
        }
        site.stack.s3.inject(Fault::on("s3:GetObject", s3::failure("SlowDown")).times(4));
        site.stack.kms.inject(Fault::on("kms:Decrypt", kms::failure("ThrottlingException")).times(4));
        // Conjur is overrun by the first of them, and then loses the replies to two.
        let busy = status(503, &[("retry-after", "0")], "");
        site.stack.conjur.inject(Fault::on("redeem", busy).times(3));
        site.stack.conjur.inject(Fault::on("redeem", FaultKind::LostReply).times(2));
        let ran: Vec<Ran> = std::thread::scope(|scope| {
            let enroll = |machine: &Machine| Ran::of(&mut machine.imprint(&["enroll", "--deadline", "30s"]));
            let running: Vec<_> =
                machines.iter().map(|machine| scope.spawn(move || enroll(machine))).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (machine, ran) in machines.iter().zip(ran) {
            let ran = ran.expect(0);
            no_secret(&site, &[&ran.out, &ran.err]);
            let key = site.stack.conjur.service().key_of(&machine.host_id());
            assert_eq!(key, Some(machine.identity().1));
        }
        // What nobody struck was asked once.
        assert_eq!(site.stack.conjur.count("redeem"), WAVE + 3 + 2);
        assert_eq!(site.stack.conjur.count("authenticate"), WAVE);
        assert_eq!(site.stack.kms.count("kms:Decrypt"), WAVE + 4);
        assert_eq!(site.stack.s3.count("s3:GetObject"), WAVE + 4 + 4);
    });
}

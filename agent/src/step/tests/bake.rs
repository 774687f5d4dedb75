//! An instance from which an image is being made.

use super::*;

#[test]
fn where_an_image_is_baked_nothing_enrolls() {
    let refused = Step::Refuse(Refusal::Bake { instance: HERE.to_owned() });
    let check = |here: Option<&str>, state: &Found, identity: &OnDisk, baked_on: &str, expect: &Step| {
        let case = Case { baked_on: Some(baked_on.parse().unwrap()), ..Case::new(here, state, identity) };
        assert_eq!(next_step(&case.known()), *expect, "{:?}", case.known());
    };
    let enrolled = state(HERE, Phase::Enrolled);
    check(Some(HERE), &Found::Missing, &OnDisk::Missing, HERE, &refused);
    check(Some(HERE), &enrolled, &good(HOST), HERE, &refused);
    // What is made from the image is another instance, and where nobody tells, the note says nothing.
    check(Some(HERE), &Found::Missing, &OnDisk::Missing, OTHER, &Step::Enroll(Why::FirstBoot));
    check(Some(HERE), &enrolled, &good(HOST), OTHER, &Step::Nothing);
    check(None, &enrolled, &good(HOST), HERE, &Step::Nothing);
    // No wish lifts it.
    let wishes = Wishes { again: true, take_over: true };
    let case = Case::new(Some(HERE), &Found::Missing, &OnDisk::Missing);
    let case = Case { baked_on: case.here.clone(), rules: Rules { wishes, ..RULES }, ..case };
    assert_eq!(next_step(&case.known()), refused);
}

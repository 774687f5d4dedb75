//! Sections F to L: Conjur, the disk, the rotator, fleets.

use super::Entry;
use super::How::{Elsewhere, NotBuilt, NotTried, Rows};

pub const LIST: &[Entry] = &[
    (
        "F59",
        "201 for a host that was there",
        &[Elsewhere(&[
            "a_host_is_promoted_whatever_becomes_of_the_replies",
            "a_dead_key_is_replaced_once_a_day_and_the_second_time_two_parties_are_named",
            "the_host_is_who_it_should_be_at_conjur",
        ])],
    ),
    (
        "F60",
        "replies that are lost after the deed",
        &[
            Rows,
            Elsewhere(&[
                "a_reply_lost_after_the_commit_is_made_good",
                "what_became_of_a_redeem_does_not_decide_how_it_ends",
            ]),
        ],
    ),
    (
        "F61",
        "a late duplicate kills the key",
        &[Rows, Elsewhere(&["what_became_of_a_redeem_does_not_decide_how_it_ends"])],
    ),
    (
        "F62",
        "401 of a token, of a key",
        &[
            Rows,
            Elsewhere(&["a_revoked_token_is_fetched_anew_once", "only_the_leaders_no_is_the_death_of_a_key"]),
        ],
    ),
    ("F63", "an id that somebody else owns", &[Elsewhere(&["an_id_that_somebody_else_owns"])]),
    ("F64", "ids that Conjur refuses", &[Elsewhere(&["host_ids", "names", "statuses"])]),
    ("F65", "no key without an annotation", &[Rows]),
    ("F66", "every other status, pages, redirects", &[Rows]),
    ("F67", "followers", &[Rows, Elsewhere(&["leader_and_follower"])]),
    (
        "F68",
        "keys that are none",
        &[Rows, Elsewhere(&["redeem_replies", "no_bytes_panic_and_what_is_edited_is_read"])],
    ),
    (
        "F69",
        "ids that must be encoded",
        &[
            Rows,
            Elsewhere(&[
                "encoding_is_exact",
                "an_instance_tag_may_be_part_of_the_id_if_every_reader_can_carry_it",
            ]),
        ],
    ),
    (
        "F70",
        "accounts with other characters",
        &[
            Elsewhere(&["names"]),
            NotBuilt(
                "accounts with a plus sign or a blank: no reader of the identity agrees with another about them, so they are refused",
            ),
        ],
    ),
    (
        "F71",
        "the login after it, and clocks",
        &[
            Rows,
            Elsewhere(&[
                "a_token_that_is_over_by_the_corrected_time_is_over",
                "a_clock_that_is_years_off_is_corrected_once_for_each_service",
            ]),
        ],
    ),
    ("F72", "every retry-after", &[Rows, Elsewhere(&["retry_after"])]),
    ("F73", "portals in the place of Conjur", &[Rows, Elsewhere(&["bodies"])]),
    ("F74", "Conjur restarts", &[Rows]),
    (
        "F75",
        "the address that Conjur sees",
        &[Elsewhere(&["conjur", "a_refused_token_is_ranked_and_nothing_is_claimed"])],
    ),
    (
        "F76",
        "revoked between fetch and redeem",
        &[Elsewhere(&[
            "a_wave_of_boots_loses_nobody_while_older_tokens_are_revoked",
            "a_token_that_was_replaced_is_fetched_again",
        ])],
    ),
    ("F77", "a host that is not in its layer", &[Rows, Elsewhere(&["the_proof_of_the_layer"])]),
    (
        "G78",
        "no space",
        &[
            Rows,
            Elsewhere(&[
                "a_full_disk",
                "write_fails",
                "taking_space_fails",
                "renaming_fails",
                "opening_fails",
                "whichever_disk_call_fails_nothing_is_partial_and_the_next_run_ends_well",
            ]),
        ],
    ),
    ("G79", "a flush fails", &[Rows, Elsewhere(&["fsync_fails", "one_file", "several_files"])]),
    (
        "G80",
        "read-only places",
        &[
            Rows,
            Elsewhere(&[
                "a_read_only_disk",
                "a_read_only_etc_moves_all_files_until_it_can_be_written_again",
                "a_file_that_nothing_may_replace",
            ]),
            NotTried(
                "NFS with squashed roots, overlays: they need servers and mounts; what a call answers there is tried by injection",
            ),
        ],
    ),
    (
        "G81",
        "links, devices, folders, open doors",
        &[
            Rows,
            Elsewhere(&[
                "what_a_target_may_not_be",
                "what_is_no_plain_file_of_ours_is_refused",
                "every_directory_on_the_way_is_judged",
            ]),
        ],
    ),
    (
        "G82",
        "labels of SELinux",
        &[Elsewhere(&["a_label_is_carried_over_and_a_new_file_gets_the_configured_one"])],
    ),
    (
        "G83",
        "owner and mode, at every moment",
        &[
            Rows,
            Elsewhere(&[
                "owner_group_mode_label_and_no_access_list_before_the_first_byte",
                "the_identitys_owner_group_and_mode_are_kept",
            ]),
        ],
    ),
    (
        "G84",
        "a sandbox",
        &[NotTried("the shipped unit's sandbox is systemd's work: make boot-test boots it")],
    ),
    (
        "G85",
        "one of several files fails",
        &[Rows, Elsewhere(&["whichever_call_fails_all_files_are_old_or_all_are_new"])],
    ),
    ("G86", "the power fails", &[NotTried("a model of lost writes is a suite of its own")]),
    (
        "G87",
        "long names, no descriptors, plain file systems",
        &[
            Rows,
            Elsewhere(&["a_file_system_that_can_neither_exchange_nor_reserve_serves_as_well"]),
            NotTried("a path that is no UTF-8: the configuration is TOML, which is"),
        ],
    ),
    ("G88", "others have it open", &[Rows]),
    (
        "K108",
        "the same event twice, or at once",
        &[
            Rows,
            Elsewhere(&[
                "two_runs_at_once_publish_one_token_and_revoke_the_other",
                "somebody_else_publishes_first",
            ]),
        ],
    ),
    (
        "K109",
        "minted and not published",
        &[
            Rows,
            Elsewhere(&[
                "an_orphan_is_revoked_once_no_run_can_publish_it",
                "a_lost_mint_is_named_by_its_label",
            ]),
        ],
    ),
    (
        "K110",
        "published and not finished",
        &[
            Rows,
            Elsewhere(&[
                "a_put_that_may_still_be_carried_out_leaves_its_token_alive",
                "any_call_may_fail_once_or_from_then_on",
            ]),
        ],
    ),
    (
        "K111",
        "what is read back is something else",
        &[Rows, Elsewhere(&["what_does_not_read_back_is_revoked"])],
    ),
    (
        "K112",
        "one of many fails",
        &[
            Rows,
            Elsewhere(&[
                "one_factory_s_failure_stops_no_other",
                "one_failure_fails_the_invocation_after_all_else_is_done",
            ]),
        ],
    ),
    (
        "K113",
        "rotations that are missed",
        &[Elsewhere(&[
            "whoever_boots_at_any_instant_finds_a_token_that_lives_through_its_boot",
            "windows_without_a_hole",
        ])],
    ),
    (
        "K114",
        "a function that is about to end",
        &[Elsewhere(&[
            "nothing_is_begun_that_cannot_end",
            "a_function_with_too_short_a_time_out_mints_nothing_and_says_so",
        ])],
    ),
    (
        "K115",
        "the clock of the rotator",
        &[
            Elsewhere(&["an_orphan_is_revoked_once_no_run_can_publish_it", "dates_of_http"]),
            NotBuilt(
                "the end of a token is counted by the rotator's clock, not by Conjur's: the doctor compares the two, and the reply's end is checked",
            ),
        ],
    ),
    (
        "K116",
        "a mint of something else",
        &[Rows, Elsewhere(&["mint_replies", "version_1_22_3_answers_200_to_a_mint_that_it_should_refuse"])],
    ),
    ("K117", "an end that Conjur refuses", &[Rows]),
    (
        "K118",
        "the login fails",
        &[
            Rows,
            Elsewhere(&[
                "conjurs_no_to_a_role_says_what_to_look_at",
                "what_stands_in_the_way_of_a_sealed_key",
            ]),
        ],
    ),
    (
        "K119",
        "tokens, but no secrets",
        &[Elsewhere(&["what_is_printed_loads_and_permits_what_is_needed_and_no_more"])],
    ),
    (
        "K120",
        "an incident in a wave of boots",
        &[Rows, Elsewhere(&["a_wave_of_boots_loses_nobody_while_older_tokens_are_revoked"])],
    ),
    (
        "K121",
        "an old token is revoked too early",
        &[Elsewhere(&[
            "agents_always_find_a_token_and_nothing_is_left_that_nobody_knows",
            "a_policy_with_a_hole_would_be_found_out",
        ])],
    ),
    (
        "K122",
        "other versions beside each other",
        &[Elsewhere(&["its_form"]), NotTried("there is one version of the format")],
    ),
    ("K123", "secrets in what a function says", &[Elsewhere(&["events_that_are_none"])]),
    (
        "K124",
        "nobody runs it",
        &[
            Elsewhere(&["a_run_that_cannot_begin_is_a_metric_too"]),
            NotTried(
                "that an alarm goes off without any run is CloudWatch's work; the module's alarm is checked by its own tests",
            ),
        ],
    ),
    ("L125", "a wave within a second", &[Elsewhere(&["a_small_fleet_holds_the_bounds_of_the_large_one"])]),
    (
        "L126",
        "a wave, and one in a hundred fails",
        &[Elsewhere(&["a_wave_is_enrolled_through_what_each_server_does_wrong"])],
    ),
    (
        "L127",
        "Conjur is away in the middle",
        &[Elsewhere(&[
            "a_pushback_is_answered_in_the_next_window",
            "a_wave_is_enrolled_through_what_each_server_does_wrong",
        ])],
    ),
    (
        "L128",
        "KMS is away for minutes",
        &[NotTried("minutes of a fleet are for virtual time; one machine's wait is E49")],
    ),
    (
        "L129",
        "a host that never comes to rest",
        &[Elsewhere(&[
            "who_kills_every_key_at_once_is_not_redeemed_against_for_ever",
            "a_dead_key_is_replaced_once_a_day",
        ])],
    ),
    (
        "L130",
        "a Conjur of 100,000 hosts",
        &[NotTried("how a genuine server slows down with its hosts can only be seen at one")],
    ),
];

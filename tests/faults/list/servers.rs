//! Sections B to E: the network, the metadata service, S3 and KMS.

use super::Entry;
use super::How::{Elsewhere, NotBuilt, NotTried, Rows};

pub const LIST: &[Entry] = &[
    (
        "B13",
        "proxy variables without exceptions",
        &[
            Rows,
            Elsewhere(&[
                "s3_kms_and_conjur_go_through_a_proxy_and_the_metadata_service_never_does",
                "what_is_on_this_machine_is_never_asked_through_a_proxy",
            ]),
        ],
    ),
    ("B14", "a proxy that answers for itself", &[Rows]),
    (
        "B15",
        "certificates that are over, early, of others, self-made",
        &[
            Rows,
            Elsewhere(&[
                "a_certificate_of_another_time_names_both_times",
                "the_certificate_of_aws_is_judged_in_the_same_way",
            ]),
            NotBuilt(
                "revoked certificates: neither OCSP nor lists are asked; the CA of a Conjur is pinned instead",
            ),
            NotTried(
                "a missing intermediate: the authority here signs leaves itself; to the verifier it is an unknown issuer",
            ),
        ],
    ),
    (
        "B16",
        "a good certificate of another authority than the pinned one",
        &[
            Rows,
            Elsewhere(&[
                "a_server_with_another_certificate_never_sees_the_token",
                "a_server_of_another_authority_never_sees_the_token",
            ]),
        ],
    ),
    ("B17", "an old TLS, a redirect to plain HTTP", &[Rows]),
    (
        "B18",
        "taken and never answered",
        &[
            Rows,
            Elsewhere(&[
                "a_server_that_never_speaks_holds_up_no_other",
                "a_service_that_never_answers_names_the_hop_limit",
            ]),
        ],
    ),
    (
        "B19",
        "replies that drip, or never end",
        &[
            Rows,
            Elsewhere(&["an_endless_answer_of_aws_is_cut_off"]),
            NotTried(
                "interim replies (100) without end: the agent was seen once to outlive its deadline by them on a busy machine, which is not mended yet",
            ),
        ],
    ),
    ("B20", "connections that break, frames that lie", &[Rows]),
    (
        "B21",
        "IPv6 alone, dead addresses",
        &[
            Rows,
            Elsewhere(&["over_ipv6"]),
            NotTried(
                "one name with a dead and a living address: that needs a resolver of its own, hence a namespace; reqwest tries all addresses of a name",
            ),
        ],
    ),
    (
        "B22",
        "an endpoint policy that denies KMS",
        &[Elsewhere(&["it_is_not_waited_for_without_end", "kms_says_no"])],
    ),
    (
        "B23",
        "large packets are lost",
        &[
            Rows,
            NotTried(
                "a real black hole: a loopback has no path with a smaller MTU; the client sees the silence that is tried here",
            ),
        ],
    ),
    (
        "B24",
        "a balancer ends idle connections early",
        &[
            Rows,
            Elsewhere(&[
                "they_are_open_before_the_credentials_are_there_and_may_break_until_then",
                "a_connection_that_is_open_is_used_while_it_is_fresh",
            ]),
        ],
    ),
    (
        "C25",
        "not there yet, then well",
        &[
            Rows,
            Elsewhere(&["what_is_not_there_yet_is_waited_for", "a_service_that_comes_up_late_is_waited_for"]),
        ],
    ),
    (
        "C26",
        "a session that ends under way",
        &[Rows, Elsewhere(&["a_session_that_ends_under_way_is_opened_again"])],
    ),
    ("C27", "version 1 alone", &[Rows]),
    (
        "C28",
        "the hop limit",
        &[
            Rows,
            Elsewhere(&[
                "a_service_that_never_answers_names_the_hop_limit",
                "the_hop_limit_of_the_metadata_service",
            ]),
        ],
    ),
    ("C29", "switched off", &[Rows, Elsewhere(&["a_service_that_is_switched_off_is_said_at_once"])]),
    (
        "C30",
        "a role that is not attached, or not known everywhere",
        &[Rows, Elsewhere(&["what_iam_may_still_settle_is_waited_for_with_new_credentials"])],
    ),
    ("C31", "documents that are none", &[Rows, Elsewhere(&["documents", "credentials_of_a_role"])]),
    ("C32", "role names that lead elsewhere", &[Rows, Elsewhere(&["roles_and_lines"])]),
    ("C33", "too many requests", &[Rows, Elsewhere(&["a_good_case_asks_little"])]),
    ("C34", "another instance answers", &[Rows, Elsewhere(&["two_instances_in_one_machine_are_refused"])]),
    (
        "C35",
        "somebody on the machine plays the service",
        &[NotBuilt(
            "the identity document's signature is not checked: whoever can take that address on the machine is root there; where firmware tells the id, the two are compared",
        )],
    ),
    ("C36", "credentials of containers beside it", &[Rows]),
    ("D37", "slow down, and other statuses", &[Rows, Elsewhere(&["a_throttle_that_passes_is_waited_for"])]),
    ("D38", "forbidden or absent", &[Rows, Elsewhere(&["s3", "nothing_is_published_yet"])]),
    ("D39", "another region, redirects", &[Rows]),
    ("D40", "objects that are none", &[Rows, Elsewhere(&["its_form", "every_truncation_is_refused"])]),
    (
        "D41",
        "replaced while it is fetched",
        &[
            Rows,
            Elsewhere(&[
                "a_good_case_asks_little",
                "a_wave_of_boots_loses_nobody_while_older_tokens_are_revoked",
            ]),
        ],
    ),
    ("D42", "a stranger's bucket", &[Rows, Elsewhere(&["the_owner_of_a_bucket_may_be_asked_for"])]),
    ("D43", "an older version is put back", &[Rows]),
    ("D44", "a delete marker", &[Rows]),
    (
        "D45",
        "encrypted by the bucket as well",
        &[NotTried(
            "the stand-in's S3 has no encryption of its own; the genuine one opens it before it answers, and the request is the same",
        )],
    ),
    (
        "D46",
        "other partitions, other forms of a bucket",
        &[
            Elsewhere(&["partitions_fips_dual_stack_and_overrides_are_what_aws_config_says"]),
            NotBuilt(
                "requester-pays buckets and ARNs of access points: a token of a kilobyte has no use for them",
            ),
        ],
    ),
    (
        "E47",
        "a context that differs in a byte",
        &[Elsewhere(&[
            "a_changed_binding_or_ciphertext_does_not_open",
            "what_is_sealed_is_unsealed_with_its_context_alone",
        ])],
    ),
    (
        "E48",
        "the token of another layer",
        &[Elsewhere(&[
            "a_role_of_one_layer_can_neither_read_nor_unseal_another_layers_token",
            "a_role_can_neither_read_nor_unseal_the_token_of_another_layer",
        ])],
    ),
    ("E49", "throttled, then well", &[Rows]),
    ("E50", "each exception of Decrypt", &[Rows]),
    ("E51", "another key", &[Rows, Elsewhere(&["another_pinned_key"])]),
    (
        "E52",
        "the key's material was rotated",
        &[NotTried(
            "the stand-in's keys have one material each; KMS finds the right one by itself, and the request is the same",
        )],
    ),
    (
        "E53",
        "flipped bits",
        &[Elsewhere(&[
            "no_flipped_bit_goes_unseen",
            "every_bit_of_the_clear_fields_counts",
            "a_flipped_bit_anywhere_spoils_the_blob",
        ])],
    ),
    ("E54", "other versions of the format", &[Elsewhere(&["its_form", "what_is_not_read"])]),
    (
        "E55",
        "sealed is something else",
        &[
            Rows,
            Elsewhere(&[
                "a_binding_of_somewhere_else_is_refused_although_it_opens",
                "what_is_refused_before_any_talk_to_conjur",
            ]),
        ],
    ),
    (
        "E56",
        "attested recipients",
        &[NotBuilt(
            "unsealing in an enclave was not asked for; the token leaves it anyway, on its way to Conjur",
        )],
    ),
    (
        "E57",
        "the key of another region",
        &[Elsewhere(&["the_bucket_of_another_region_when_the_first_is_down"])],
    ),
    (
        "E58",
        "two keys while one takes the other's place",
        &[Elsewhere(&["the_bucket_of_another_region_when_the_first_is_down", "each_kind"])],
    ),
];

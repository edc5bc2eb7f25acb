//! Bounds on what may be declared. Each is enforced by validation, before anything enters the log.

/// Longest resource name, in characters.
pub const NAME_MAX_CHARS: usize = 128;
/// Longest description, in bytes.
pub const DESCRIPTION_MAX_BYTES: usize = 4_096;
/// Most labels on one resource.
pub const LABEL_MAX_COUNT: usize = 64;
/// Longest label key or value, in bytes.
pub const LABEL_MAX_BYTES: usize = 256;
/// Most members in one pool.
pub const POOL_MEMBER_MAX_COUNT: usize = 4_096;
/// Most monitors on one pool.
pub const POOL_MONITOR_MAX_COUNT: usize = 16;
/// Heaviest member; 0 means "no new load".
pub const MEMBER_WEIGHT_MAX: u16 = 256;
/// Highest connection limit of a member.
pub const MEMBER_CONNECTION_LIMIT_MAX: u32 = 1_000_000;
/// Most addresses on one virtual server.
pub const ADDRESS_MAX_COUNT: usize = 64;
/// Most ports on one virtual server.
pub const PORT_MAX_COUNT: usize = 64;
/// Most certificates on one virtual server.
pub const CERTIFICATE_MAX_COUNT: usize = 10_000;
/// Most certificates of authorities in one trust list.
pub const CA_CERTIFICATE_MAX_COUNT: usize = 64;
/// Most networks that a virtual server trusts to announce clients.
pub const TRUSTED_SOURCE_MAX_COUNT: usize = 256;
/// Most routes of one virtual server that passes TLS on.
pub const SNI_ROUTE_MAX_COUNT: usize = 1_000;
/// Most server names in all of them together.
pub const SNI_NAME_MAX_COUNT: usize = 10_000;
/// Largest certificate chain or private key accepted, in bytes of PEM.
pub const PEM_MAX_BYTES: usize = 256 * 1024;
/// Longest declared answer of OCSP, in bytes of text.
pub const OCSP_RESPONSE_MAX_BYTES: usize = 96 * 1024;
/// Longest timeout or interval, in milliseconds (one day).
pub const TIMEOUT_MAX_MS: u64 = 24 * 60 * 60 * 1_000;
/// Shortest interval between two probes of a member, in milliseconds.
pub const PROBE_INTERVAL_MIN_MS: u64 = 100;
/// Most edits in one command (one declaration).
pub const EDIT_MAX_COUNT: usize = 200_000;
/// How long an idempotency key is honoured, in milliseconds (24 h).
pub const IDEMPOTENCY_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;
/// Most idempotency keys kept; the oldest goes first.
pub const IDEMPOTENCY_MAX_COUNT: usize = 10_000;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 128;
/// Most join tokens that wait to be redeemed.
pub const JOIN_TICKET_MAX_COUNT: usize = 64;
/// Most revoked sessions kept until they expire by themselves.
pub const REVOKED_SESSION_MAX_COUNT: usize = 10_000;
/// Most addresses and ports that all virtual servers together listen on.
pub const LISTENER_MAX_COUNT: usize = 100_000;
/// Most faults of one input that are told one by one.
pub const FAULT_MAX_COUNT: usize = 1_000;
/// Most floating addresses in one traffic group.
pub const VIRTUAL_ADDRESS_MAX_COUNT: usize = 64;
/// Most nodes in the HA order of a traffic group.
pub const GROUP_NODE_MAX_COUNT: usize = 16;
/// Most routers outside the cluster that a traffic group names.
pub const FOREIGN_ROUTER_MAX_COUNT: usize = 16;
/// Most things of one sort that a traffic group tracks.
pub const TRACKED_MAX_COUNT: usize = 16;
/// Shortest interval between two VRRP advertisements, in milliseconds.
pub const ADVERT_INTERVAL_MIN_MS: u32 = 20;
/// Longest interval between two VRRP advertisements, in milliseconds (RFC 9568 §5.2.7: 12 bits of
/// centiseconds).
pub const ADVERT_INTERVAL_MAX_MS: u32 = 40_950;
/// Longest wait before a group goes back to a preferred node, in seconds.
pub const FAILBACK_DELAY_MAX_S: u32 = 300;
/// Most networks that a node has devices for.
pub const INTERFACE_MAX_COUNT: usize = 64;
/// Keys of TLS session tickets that are kept: the present one and those before it.
pub const TICKET_KEY_MAX_COUNT: usize = 3;
/// Transitions of traffic groups that each node keeps.
pub const TIMELINE_MAX_COUNT: usize = 100;
/// Most rules in one policy.
pub const POLICY_RULE_MAX_COUNT: usize = 20_000;
/// Most conditions of one rule, those inside of others included.
pub const POLICY_CONDITION_MAX_COUNT: usize = 256;
/// Deepest nesting of a rule's conditions.
pub const POLICY_CONDITION_MAX_DEPTH: usize = 8;
/// Most entries in one list of a condition (hosts, methods, networks).
pub const POLICY_LIST_MAX_COUNT: usize = 1_024;
/// Longest path, value or pattern in a policy, in bytes.
pub const POLICY_TEXT_MAX_BYTES: usize = 4_096;
/// Longest regular expression, in bytes.
pub const POLICY_REGEX_MAX_BYTES: usize = 1_024;
/// Largest regular expression once its repetitions are written out, in bytes and byte ranges.
pub const POLICY_REGEX_MAX_COST: usize = 10_000;
/// Largest sum of that over the regular expressions of one policy.
pub const POLICY_REGEX_TOTAL_MAX_COST: usize = 100_000;
/// Largest body of a fixed response, in bytes.
pub const POLICY_BODY_MAX_BYTES: usize = 64 * 1024;
/// Most pools in one weighted split.
pub const POLICY_SPLIT_MAX_COUNT: usize = 32;
/// Most header fields that one rule sets, adds or removes, each way.
pub const POLICY_HEADER_EDIT_MAX_COUNT: usize = 64;
/// Most rate limits of one rule.
pub const POLICY_RATE_LIMIT_MAX_COUNT: usize = 8;
/// Most parts of one rate limit's key.
pub const POLICY_KEY_PART_MAX_COUNT: usize = 8;
/// Most requests that a rate limit lets through in an interval, and largest burst.
pub const POLICY_RATE_MAX_COUNT: u32 = 10_000_000;
/// Longest interval of a rate limit, in seconds (one day).
pub const POLICY_RATE_INTERVAL_MAX_S: u32 = 24 * 60 * 60;
/// Most claims and most scopes that one rule asks of a token.
pub const POLICY_CLAIM_MAX_COUNT: usize = 32;
/// Most networks in one region.
pub const REGION_CIDR_MAX_COUNT: usize = 100_000;
/// Most policies on one virtual server.
pub const SERVER_POLICY_MAX_COUNT: usize = 16;
/// Most algorithms that a JWT provider names, and most audiences.
pub const JWT_LIST_MAX_COUNT: usize = 32;
/// Longest issuer, audience or URL of a JWT provider, in bytes.
pub const JWT_TEXT_MAX_BYTES: usize = 2_048;
/// Largest set of keys of a JWT provider, in bytes of JSON.
pub const JWKS_MAX_BYTES: usize = 256 * 1024;
/// Most keys in one set.
pub const JWKS_KEY_MAX_COUNT: usize = 64;
/// Most that the clock of a JWT provider may differ from ours, in seconds.
pub const JWT_CLOCK_SKEW_MAX_S: u32 = 600;
/// Shortest time between two fetches of a provider's keys as planned, in seconds.
pub const JWKS_REFRESH_MIN_S: u32 = 10;
/// Longest time between two fetches of a provider's keys, in seconds (one day).
pub const JWKS_REFRESH_MAX_S: u32 = 24 * 60 * 60;
/// Most header fields of a virtual server's requests, and of its responses, in the access log.
pub const LOGGED_HEADER_MAX_COUNT: usize = 16;
/// Longest name of such a field, in bytes.
pub const LOGGED_HEADER_NAME_MAX_BYTES: usize = 64;

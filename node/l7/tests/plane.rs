//! The HTTP data plane over real sockets: hand-written clients and origins, so that both can
//! misbehave.

#[path = "plane/access_log.rs"]
mod access_log;
#[path = "plane/allocations.rs"]
mod allocations;
#[path = "plane/announce.rs"]
mod announce;
#[path = "plane/balance.rs"]
mod balance;
#[path = "plane/bodies.rs"]
mod bodies;
#[path = "plane/buffering.rs"]
mod buffering;
#[path = "plane/change.rs"]
mod change;
#[path = "plane/circuit.rs"]
mod circuit;
#[path = "plane/client_auth.rs"]
mod client_auth;
#[path = "plane/client_identity.rs"]
mod client_identity;
#[path = "plane/door.rs"]
mod door;
#[path = "plane/ejection.rs"]
mod ejection;
#[path = "plane/faults.rs"]
mod faults;
#[path = "plane/forwarding.rs"]
mod forwarding;
#[path = "plane/harness.rs"]
mod harness;
#[path = "plane/http2.rs"]
mod http2;
#[path = "plane/http2_client.rs"]
mod http2_client;
#[path = "plane/http2_grpc.rs"]
mod http2_grpc;
#[path = "plane/http2_limits.rs"]
mod http2_limits;
#[path = "plane/http2_malformed.rs"]
mod http2_malformed;
#[path = "plane/http2_oracles.rs"]
mod http2_oracles;
#[path = "plane/http2_origin.rs"]
mod http2_origin;
#[path = "plane/http2_tls.rs"]
mod http2_tls;
#[path = "plane/http2_websocket.rs"]
mod http2_websocket;
#[path = "plane/last_answers.rs"]
mod last_answers;
#[path = "plane/leaving.rs"]
mod leaving;
#[path = "plane/limits.rs"]
mod limits;
#[path = "plane/matrix.rs"]
mod matrix;
#[path = "plane/member_http2.rs"]
mod member_http2;
#[path = "plane/member_http2_malformed.rs"]
mod member_http2_malformed;
#[path = "plane/member_http2_waits.rs"]
mod member_http2_waits;
#[path = "plane/member_tls.rs"]
mod member_tls;
#[path = "plane/member_websocket.rs"]
mod member_websocket;
#[path = "plane/persistence.rs"]
mod persistence;
#[path = "plane/pki.rs"]
mod pki;
#[path = "plane/policy.rs"]
mod policy;
#[path = "plane/queue.rs"]
mod queue;
#[path = "plane/quiesce.rs"]
mod quiesce;
#[path = "plane/repeats.rs"]
mod repeats;
#[path = "plane/retry.rs"]
mod retry;
#[path = "plane/secure.rs"]
mod secure;
#[path = "plane/serving.rs"]
mod serving;
#[path = "plane/slow.rs"]
mod slow;
#[path = "plane/tls.rs"]
mod tls;
#[path = "plane/tls_suites.rs"]
mod tls_suites;
#[path = "plane/upgrade.rs"]
mod upgrade;
#[path = "plane/visibility.rs"]
mod visibility;

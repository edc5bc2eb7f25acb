use super::*;
use crate::codec::request::{RequestHead, RequestLimits};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn parsed(lines: &str) -> (Vec<u8>, Vec<Field>) {
    let raw = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
    let count = raw.split(|byte| *byte == b'\n').count() - 3;
    let limits =
        RequestLimits { header_max_count: 64, uri_max_bytes: 1_000, body_max_bytes: u64::MAX };
    let mut fields = Vec::new();
    RequestHead::parse(&raw, count, &limits, &mut fields).unwrap();
    (raw, fields)
}

fn request_id(settings: RequestIdSettings, lines: &str) -> (RequestId, Vec<u8>) {
    let (raw, fields) = parsed(lines);
    let (id, text) = RequestId::of(&settings, &WorkerContext::new(0), &raw, &fields);
    (id, text.to_vec())
}

fn trace(settings: TracingSettings, lines: &str) -> RequestTrace {
    let (raw, fields) = parsed(lines);
    RequestTrace::of(&settings, &WorkerContext::new(0), &raw, &fields)
}

#[test]
fn a_valid_identifier_of_the_client_is_kept() {
    let longest = "a".repeat(REQUEST_ID_MAX_BYTES);
    for valid in ["7", "0190163d-8694-7678-bfff-ffffffffffff", "a.b_c~d+e/f=g:h@i", &longest] {
        let (id, text) =
            request_id(RequestIdSettings::default(), &format!("x-request-id: {valid}\r\n"));
        assert_eq!((id, text.as_slice()), (RequestId::Client, valid.as_bytes()));
    }
}

#[test]
fn anything_else_is_replaced_by_one_of_ours() {
    let too_long = format!("X-Request-ID: {}\r\n", "a".repeat(REQUEST_ID_MAX_BYTES + 1));
    let never = RequestIdSettings { accept_from_client: false, ..Default::default() };
    let accepts = RequestIdSettings::default();
    for (settings, lines) in [
        (accepts, ""),
        (accepts, "X-Request-ID: \r\n"),
        (accepts, "X-Request-ID: a b\r\n"),
        (accepts, "X-Request-ID: a\"b\r\n"),
        (accepts, "X-Request-ID: a\r\nX-Request-ID: a\r\n"),
        (accepts, &too_long),
        (never, "X-Request-ID: a\r\n"),
    ] {
        let (id, text) = request_id(settings, lines);
        assert!(matches!(id, RequestId::Own(_)) && text.is_empty(), "{lines:?}: {id:?}");
    }
}

#[test]
fn a_trace_goes_on_as_the_client_says() {
    let settings = TracingSettings { sample_percent: 0.0, ..Default::default() };
    let trace = trace(settings, &format!("traceparent: {PARENT}\r\n"));
    assert!(trace.goes_on() && trace.context.is_sampled);
    assert_eq!(trace.parent_span_id, 0x00f0_67aa_0ba9_02b7);
    assert_eq!(trace.context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    assert_ne!(trace.context.span_id, trace.parent_span_id);
    assert_ne!(trace.context.span_id, trace.server_span_id);
}

#[test]
fn a_trace_begins_anew_where_none_came_or_none_is_believed() {
    let all = TracingSettings { sample_percent: 100.0, ..Default::default() };
    let none = TracingSettings { sample_percent: 0.0, ..Default::default() };
    let alone = TracingSettings { accept_from_client: false, ..none };
    let twice = format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\n");
    for (settings, lines, is_sampled) in [
        (all, "", true),
        (none, "", false),
        (none, "traceparent: x\r\n", false),
        (none, &twice, false),
        (alone, &format!("traceparent: {PARENT}\r\n"), false),
    ] {
        let trace = trace(settings, lines);
        assert!(!trace.goes_on(), "{lines:?}");
        assert_eq!(trace.context.is_sampled, is_sampled, "{lines:?}");
    }
}

#[test]
fn a_further_attempt_is_a_span_of_its_own_in_what_was_written() {
    let worker = WorkerContext::new(0);
    let mut identity = Identity {
        request_id: RequestId::Own(1),
        trace: Some(trace(TracingSettings::default(), &format!("traceparent: {PARENT}\r\n"))),
    };
    let mut output = Buffer::default();
    output.push(b"GET / HTTP/1.1\r\n");
    identity.write(&mut output, |_| false);
    output.push(b"\r\n");
    let shown = |output: &Buffer| {
        let text = std::str::from_utf8(output.data()).unwrap().to_owned();
        let (_, value) = text.split_once("traceparent: ").unwrap();
        TraceContext::parse(&value.as_bytes()[..55]).unwrap()
    };
    assert_eq!(shown(&output), identity.trace.unwrap().context);
    let first = shown(&output).span_id;
    output.consume(20);
    output.rewind();
    let trace = identity.trace.as_mut().unwrap();
    trace.next_attempt(&worker, &mut output);
    assert_eq!(shown(&output), trace.context);
    assert_ne!(shown(&output).span_id, first);
}

#[test]
fn as_many_are_in_the_sample_as_it_says() {
    let worker = WorkerContext::new(0);
    for (percent, range) in [(0.0, 0..=0), (100.0, 10_000..=10_000), (10.0, 800..=1_200)] {
        let count = (0..10_000).filter(|_| is_in_sample(worker.random(), percent)).count();
        assert!(range.contains(&count), "{count} at {percent} %");
    }
}

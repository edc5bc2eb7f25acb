use super::*;
use crate::reason::FailureReason;

/// Fields of a message: number, and content (that of numbers as 8 bytes).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let content = match tag & 7 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            1 => take(&mut bytes, 8),
            2 => {
                let length = varint(&mut bytes) as usize;
                take(&mut bytes, length)
            }
            5 => take(&mut bytes, 4),
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, content));
    }
    fields
}

fn take(bytes: &mut &[u8], count: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken.to_vec()
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn one(message: &[(u64, Vec<u8>)], field: u64) -> Vec<u8> {
    let mut all = message.iter().filter(|(number, _)| *number == field);
    let found = all.next().map(|(_, content)| content.clone()).unwrap_or_default();
    assert!(all.next().is_none(), "field {field} came twice");
    found
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Attributes of a span or resource, as text.
fn attributes(message: &[(u64, Vec<u8>)], field: u64) -> Vec<String> {
    let all = message.iter().filter(|(number, _)| *number == field);
    all.map(|(_, pair)| {
        let pair = fields(pair);
        let key = String::from_utf8(one(&pair, 1)).unwrap();
        let value = fields(&one(&pair, 2));
        match &value[..] {
            [(1, text)] => format!("{key}={}", String::from_utf8(text.clone()).unwrap()),
            [(3, value)] => format!("{key}={}", number(value)),
            other => panic!("{other:?}"),
        }
    })
    .collect()
}

fn attempt(status: u16, error: Option<&'static str>) -> Attempt {
    Attempt {
        span_id: 7,
        time_us: (5, 6),
        member: "m1".into(),
        address: "192.0.2.1:80".parse().unwrap(),
        status,
        error,
    }
}

fn spans(attempts: &[Attempt]) -> RequestSpans<'_> {
    RequestSpans {
        trace_id: 0x0102,
        span_id: 3,
        parent_span_id: 4,
        time_us: (5, 9),
        method: b"GET",
        path: b"/a\xff",
        host: b"a.test",
        scheme: "https",
        protocol: "http/1.1",
        client: "[2001:db8::1]:5000".parse().unwrap(),
        status: 503,
        reason: Some(FailureReason::ConnectRefused),
        virtual_server: "web",
        pool: "blue",
        attempts,
    }
}

#[test]
fn a_request_is_a_server_span_with_a_client_span_for_each_attempt() {
    let (sink, mut queue, totals) = SpanSink::new();
    sink.offer(&spans(&[attempt(0, Some("connect_failure")), attempt(404, None)]));
    let batch = queue.try_recv().unwrap();
    assert_eq!((batch.span_count, totals.totals()), (3, (0, 0)));
    let origin = Origin { node: "lb1".to_owned(), cluster: "prod".to_owned(), version: "1.2.3" };
    let request = fields(&export_request(&origin, [&batch.bytes[..]].into_iter()));
    let resource_spans = fields(&one(&request, 1));
    let resource = fields(&one(&resource_spans, 1));
    let of_resource = [
        "service.name=ballast",
        "service.version=1.2.3",
        "service.instance.id=lb1",
        "service.namespace=prod",
    ];
    assert_eq!(attributes(&resource, 1), of_resource);
    let scope_spans = fields(&one(&resource_spans, 2));
    assert_eq!(one(&fields(&one(&scope_spans, 1)), 1), b"ballast");
    let spans: Vec<_> =
        scope_spans.iter().filter(|(field, _)| *field == 2).map(|(_, span)| fields(span)).collect();
    let [server, first, second] = &spans[..] else { panic!("{} spans", spans.len()) };

    assert_eq!(one(server, 1), 0x0102_u128.to_be_bytes());
    assert_eq!(
        (one(server, 2), one(server, 4)),
        (vec![0, 0, 0, 0, 0, 0, 0, 3], 4_u64.to_be_bytes().into())
    );
    assert_eq!((one(server, 5), number(&one(server, 6))), (b"GET".to_vec(), 2));
    assert_eq!((number(&one(server, 7)), number(&one(server, 8))), (5_000, 9_000));
    assert_eq!(one(server, 16), 1_u32.to_le_bytes());
    let of_server = [
        "http.request.method=GET",
        "url.path=/a\u{fffd}",
        "url.scheme=https",
        "server.address=a.test",
        "network.protocol.version=1.1",
        "client.address=2001:db8::1",
        "client.port=5000",
        "http.response.status_code=503",
        "ballast.virtual_server=web",
        "ballast.pool=blue",
        "error.type=connect_refused",
    ];
    assert_eq!(attributes(server, 9), of_server);
    assert_eq!(number(&one(&fields(&one(server, 15)), 3)), 2);

    assert_eq!((one(first, 4), number(&one(first, 6))), (3_u64.to_be_bytes().into(), 3));
    assert!(attributes(first, 9).contains(&"error.type=connect_failure".to_owned()));
    let of_second = [
        "http.request.method=GET",
        "server.address=192.0.2.1",
        "server.port=80",
        "http.response.status_code=404",
        "http.request.resend_count=1",
        "ballast.member=m1",
        "error.type=status",
    ];
    assert_eq!(attributes(second, 9), of_second);
}

#[test]
fn a_client_that_is_at_fault_is_no_error_of_the_server() {
    let (sink, mut queue, _) = SpanSink::new();
    let reason = Some(FailureReason::BodyTooLarge);
    sink.offer(&RequestSpans { status: 413, reason, ..spans(&[]) });
    let span = fields(&queue.try_recv().unwrap().bytes);
    assert!(one(&fields(&one(&span, 2)), 15).is_empty());
}

#[test]
fn what_the_queue_can_not_hold_is_dropped_and_counted() {
    let (sink, mut queue, totals) = SpanSink::new();
    for _ in 0..QUEUE_MAX_COUNT {
        sink.offer(&spans(&[]));
    }
    assert_eq!(totals.totals(), (0, 0));
    sink.offer(&spans(&[attempt(200, None)]));
    assert_eq!(totals.totals(), (0, 2));
    queue.try_recv().unwrap();
    sink.offer(&spans(&[]));
    assert_eq!(totals.totals(), (0, 2));
}

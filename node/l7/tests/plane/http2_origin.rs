//! Origins that speak HTTP/2.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::harness::*;

/// Either side of a connection, whatever is below it.
pub(crate) trait Both: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Both for S {}

/// A request, and the place for its answer.
pub(crate) type Exchange = (Request<RecvStream>, SendResponse<Bytes>);

/// An origin that calls `serve` with each request and the number of its connection, by TLS with
/// `config` if that is given.
pub(crate) async fn start<F, Fut>(
    config: Option<ServerConfig>,
    builder: Builder,
    serve: F,
) -> Origin
where
    F: Fn(usize, Exchange) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let acceptor = config.map(|mut config| {
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    let serve = Arc::new(serve);
    Origin::start(move |number, io: Io| {
        let (acceptor, builder, serve) = (acceptor.clone(), builder.clone(), Arc::clone(&serve));
        async move {
            let stream: Box<dyn Both> = match acceptor {
                Some(acceptor) => match acceptor.accept(io.stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => return,
                },
                None => Box::new(io.stream),
            };
            let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
            while let Some(Ok(exchange)) = connection.accept().await {
                tokio::spawn(serve(number, exchange));
            }
        }
    })
    .await
}

/// One that answers `GET` with its target, and everything else with what came.
pub(crate) async fn echo(config: Option<ServerConfig>) -> Origin {
    start(config, Builder::new(), |_, (request, respond)| async move {
        let target = request.uri().path().to_owned();
        let (body, _) = read_all(request.into_body()).await;
        let body = if body.is_empty() { target.into_bytes() } else { body };
        answer(respond, Response::new(()), &body, None).await;
    })
    .await
}

/// A body, taken as it comes, and its trailers.
pub(crate) async fn read_all(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        all.extend_from_slice(&data);
        let _ended = body.flow_control().release_capacity(data.len());
    }
    (all, body.trailers().await.ok().flatten())
}

/// Sends a response with that body and those trailers, as the windows allow.
pub(crate) async fn answer(
    mut respond: SendResponse<Bytes>,
    head: Response<()>,
    body: &[u8],
    trailers: Option<HeaderMap>,
) {
    let is_end = body.is_empty() && trailers.is_none();
    let Ok(mut send) = respond.send_response(head, is_end) else { return };
    if is_end {
        return;
    }
    let body = Bytes::copy_from_slice(body);
    if crate::http2_client::send_all(&mut send, body, trailers.is_none()).await.is_err() {
        return;
    }
    if let Some(trailers) = trailers {
        let _gone = send.send_trailers(trailers);
    }
}

use std::net::{TcpListener, TcpStream};

use super::*;
use crate::message::{ToNew, ToOld};

fn ends() -> (Channel, Channel) {
    let (one, other) = Channel::pair().unwrap();
    (one, Channel::new(other).unwrap())
}

#[tokio::test]
async fn a_socket_arrives_with_what_waits_in_its_queue() {
    let (old, new) = ends();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    old.send(&ToNew::Sockets, &[listener.as_fd()]).await.unwrap();
    drop(listener);
    let (message, mut sockets) = new.receive::<ToNew>().await.unwrap();
    assert_eq!(message, ToNew::Sockets);
    let received = TcpListener::from(sockets.pop().unwrap());
    assert!(rustix::io::fcntl_getfd(&received).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    received.accept().unwrap();
}

#[tokio::test]
async fn as_many_descriptors_come_along_as_may_and_not_one_more() {
    let (old, new) = ends();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let most = vec![listener.as_fd(); DESCRIPTOR_MAX_COUNT];
    old.send(&ToNew::Sockets, &most).await.unwrap();
    assert_eq!(new.receive::<ToNew>().await.unwrap().1.len(), DESCRIPTOR_MAX_COUNT);
    let more = vec![listener.as_fd(); DESCRIPTOR_MAX_COUNT + 1];
    assert!(matches!(old.send(&ToNew::Sockets, &more).await, Err(ChannelError::Io(_))));
}

#[tokio::test]
async fn a_message_is_as_long_as_may_be_and_no_longer() {
    let (old, new) = ends();
    let of = |bytes: usize| {
        let empty = serde_json::to_vec(&ToOld::Failed { why: String::new() }).unwrap().len();
        ToOld::Failed { why: "x".repeat(bytes - empty) }
    };
    old.send(&of(MESSAGE_MAX_BYTES), &[]).await.unwrap();
    assert_eq!(new.receive::<ToOld>().await.unwrap().0, of(MESSAGE_MAX_BYTES));
    let refused = old.send(&of(MESSAGE_MAX_BYTES + 1), &[]).await;
    assert!(matches!(refused, Err(ChannelError::TooLarge { .. })));
}

#[tokio::test]
async fn what_is_not_understood_is_said_to_be() {
    let (old, new) = ends();
    old.send(&serde_json::json!({"say": "dance"}), &[]).await.unwrap();
    let error = new.receive::<ToNew>().await.unwrap_err();
    assert!(matches!(error, ChannelError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn the_end_of_the_other_process_is_noticed() {
    let (old, new) = ends();
    drop(old);
    assert!(matches!(new.receive::<ToNew>().await, Err(ChannelError::Closed)));
    assert!(matches!(new.send(&ToOld::Prepared, &[]).await, Err(ChannelError::Closed)));
}

#[tokio::test]
async fn a_parcel_holds_more_than_a_message() {
    let (old, new) = ends();
    let content = vec!["member".to_owned(); 20_000];
    old.send(&ToNew::Go { index: 7 }, &[pack(&content).unwrap().as_fd()]).await.unwrap();
    let (_, mut parcels) = new.receive::<ToNew>().await.unwrap();
    assert_eq!(unpack::<Vec<String>>(parcels.pop().unwrap()).unwrap(), content);
}

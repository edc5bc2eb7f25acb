use super::*;

#[test]
fn what_is_pushed_comes_out_in_order() {
    let mut buffer = Buffer::default();
    buffer.push(b"one");
    buffer.push_decimal(234);
    buffer.consume(2);
    assert_eq!(buffer.data(), b"e234");
    assert_eq!(buffer.len(), 4);
}

#[test]
fn consumed_bytes_can_be_had_back_until_something_is_put_in() {
    let mut buffer = Buffer::default();
    buffer.push(b"abc");
    buffer.consume(3);
    assert!(buffer.is_empty());
    assert_eq!(buffer.consumed(), 3);
    buffer.rewind();
    assert_eq!(buffer.data(), b"abc");
    buffer.consume(3);
    buffer.push(b"d");
    buffer.rewind();
    assert_eq!(buffer.data(), b"d");
}

#[test]
fn storage_goes_back_to_the_pool_and_comes_again() {
    let pool = BufferPool::default();
    let mut buffer = Buffer::default();
    buffer.acquire(&pool);
    assert_eq!(buffer.free(), BUFFER_BYTES);
    buffer.push(b"x");
    buffer.release(&pool);
    assert_eq!(pool.idle.borrow().len(), 0, "it holds something");
    buffer.consume(1);
    buffer.release(&pool);
    assert_eq!(pool.idle.borrow().len(), 1);
    buffer.acquire(&pool);
    assert_eq!(pool.idle.borrow().len(), 0);
}

#[test]
fn grown_storage_is_not_kept() {
    let pool = BufferPool::default();
    let mut buffer = Buffer::default();
    buffer.push(&vec![0; BUFFER_BYTES + 1]);
    buffer.consume(BUFFER_BYTES + 1);
    buffer.release(&pool);
    assert_eq!(pool.idle.borrow().len(), 0);
}

#[test]
fn room_is_made_by_moving_before_growing_and_up_to_the_limit() {
    let mut buffer = Buffer::default();
    buffer.push(&vec![1; BUFFER_BYTES]);
    assert_eq!(buffer.free(), 0);
    buffer.consume(10);
    assert!(buffer.make_room(2 * BUFFER_BYTES));
    assert_eq!((buffer.free(), buffer.len()), (10, BUFFER_BYTES - 10));
    buffer.push(&[2; 10]);
    assert!(buffer.make_room(BUFFER_BYTES + 5));
    assert_eq!(buffer.free(), 5);
    buffer.push(&[3; 5]);
    assert!(!buffer.make_room(BUFFER_BYTES + 5));
    assert_eq!(buffer.len(), BUFFER_BYTES + 5);
}

#[test]
fn it_is_known_whether_what_was_put_in_first_is_still_there() {
    let mut buffer = Buffer::default();
    buffer.push(b"head");
    let generation = buffer.generation();
    buffer.consume(2);
    buffer.push(b"body");
    buffer.consume(6);
    assert_eq!(buffer.generation(), generation, "all of it can be had back");
    buffer.push(b"tail of 8");
    assert_ne!(buffer.generation(), generation);
    let generation = buffer.generation();
    buffer.consume(9);
    buffer.space();
    assert_ne!(buffer.generation(), generation);
    buffer.push(b"xyz");
    buffer.consume(1);
    let generation = buffer.generation();
    assert!(buffer.make_room(BUFFER_BYTES));
    assert_eq!(buffer.generation(), generation, "there was room");
    buffer.grow(BUFFER_BYTES);
    let free = buffer.free();
    buffer.filled(free);
    assert!(buffer.make_room(BUFFER_BYTES));
    assert_ne!(buffer.generation(), generation, "what was consumed is gone");
}

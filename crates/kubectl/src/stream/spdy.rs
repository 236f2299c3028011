//! A SPDY/3.1 session as far as exec and attach need it: a few streams that we open, data both ways, half-close.
//!
//! Runtimes that know no newer protocol learn by it that standard input has ended. What the peer says in headers is
//! always the same here and is skipped; our own headers are sent in stored blocks, so no compression is needed:
//!
//! ```text
//! 78 bb e3c6a7c2        zlib header that names SPDY's dictionary (once a session)
//! 00 LEN ~LEN data      a stored block
//! 00 0000 ffff          an empty one, which makes the reader hand on what it has
//! ```

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::codec::{Decoder, FramedRead};

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
const FIN: u8 = 1;
const ZLIB_HEADER: [u8; 6] = [0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2];
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];
/// A frame of a peer that means well is far smaller.
const FRAME_MAX: usize = 1 << 20;

type Io = TokioIo<Upgraded>;

/// Writes frames. Streams are known by the channel numbers that the WebSocket protocols have.
pub struct Sender {
    io: WriteHalf<Io>,
    channels: Vec<u8>,
    headers_begun: bool,
}

pub struct Receiver {
    frames: FramedRead<ReadHalf<Io>, Frames>,
    channels: Vec<u8>,
}

/// What came.
pub enum Event {
    Data(u8, Bytes),
    /// The peer ended or broke a stream.
    End(u8),
    /// The peer wants to know whether we live.
    Ping(u32),
    GoAway,
}

pub fn split(io: Io) -> (Sender, Receiver) {
    let (read, write) = tokio::io::split(io);
    (
        Sender { io: write, channels: Vec::new(), headers_begun: false },
        Receiver { frames: FramedRead::new(read, Frames), channels: Vec::new() },
    )
}

/// The stream of the n-th channel; ours are odd.
fn stream_id(index: usize) -> u32 {
    index as u32 * 2 + 1
}

impl Sender {
    /// Opens one stream a channel, in order; `name` is its `streamtype`.
    pub async fn open(&mut self, receiver: &mut Receiver, channels: &[(u8, &str)]) -> std::io::Result<()> {
        for (channel, name) in channels {
            let id = stream_id(self.channels.len());
            self.channels.push(*channel);
            receiver.channels.push(*channel);
            let frame = syn_stream(id, "streamtype", name, !self.headers_begun);
            self.headers_begun = true;
            self.io.write_all(&frame).await?;
        }
        self.io.flush().await
    }

    pub async fn data(&mut self, channel: u8, data: &[u8], last: bool) -> std::io::Result<()> {
        let Some(index) = self.channels.iter().position(|own| *own == channel) else { return Ok(()) };
        let mut frame = stream_id(index).to_be_bytes().to_vec();
        frame.push(if last { FIN } else { 0 });
        frame.extend_from_slice(&length(data.len()));
        frame.extend_from_slice(data);
        self.io.write_all(&frame).await?;
        self.io.flush().await
    }

    pub async fn answer_ping(&mut self, id: u32) -> std::io::Result<()> {
        let mut frame = control(PING, 0, 4);
        frame.extend_from_slice(&id.to_be_bytes());
        self.io.write_all(&frame).await?;
        self.io.flush().await
    }
}

fn length(count: usize) -> [u8; 3] {
    let bytes = (count as u32).to_be_bytes();
    [bytes[1], bytes[2], bytes[3]]
}

fn control(kind: u16, flags: u8, count: usize) -> Vec<u8> {
    let mut frame = VERSION.to_be_bytes().to_vec();
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.push(flags);
    frame.extend_from_slice(&length(count));
    frame
}

fn syn_stream(id: u32, name: &str, value: &str, first: bool) -> Vec<u8> {
    let mut headers = 1_u32.to_be_bytes().to_vec();
    for text in [name, value] {
        headers.extend_from_slice(&(text.len() as u32).to_be_bytes());
        headers.extend_from_slice(text.as_bytes());
    }
    let mut block = if first { ZLIB_HEADER.to_vec() } else { Vec::new() };
    block.push(0);
    let count = headers.len() as u16;
    block.extend_from_slice(&count.to_le_bytes());
    block.extend_from_slice(&(!count).to_le_bytes());
    block.extend_from_slice(&headers);
    block.extend_from_slice(&FLUSH);
    let mut frame = control(SYN_STREAM, 0, 10 + block.len());
    frame.extend_from_slice(&id.to_be_bytes());
    // No associated stream, the highest priority, no slot.
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&block);
    frame
}

impl Receiver {
    /// The next event; None when the connection has ended. Safe to be dropped half way.
    pub async fn next(&mut self) -> Option<std::io::Result<Event>> {
        loop {
            let frame = match self.frames.next().await? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error)),
            };
            if let Some(event) = self.event(frame) {
                return Some(Ok(event));
            }
        }
    }

    fn channel(&self, id: u32) -> Option<u8> {
        let index = usize::try_from(id.checked_sub(1)? / 2).ok()?;
        self.channels.get(index).copied().filter(|_| id % 2 == 1)
    }

    fn event(&self, frame: Frame) -> Option<Event> {
        match frame {
            Frame::Data { id, fin, data } => {
                let channel = self.channel(id)?;
                // An end may come with the last data, which counts first: the caller ends by the connection anyway.
                if fin && data.is_empty() { Some(Event::End(channel)) } else { Some(Event::Data(channel, data)) }
            }
            Frame::Control { kind: PING, body } if body.len() >= 4 => Some(Event::Ping(body.clone().get_u32())),
            Frame::Control { kind: RST_STREAM, body } if body.len() >= 4 => {
                self.channel(body.clone().get_u32() & 0x7fff_ffff).map(Event::End)
            }
            Frame::Control { kind: GO_AWAY, .. } => Some(Event::GoAway),
            Frame::Control { .. } => None,
        }
    }
}

enum Frame {
    Data { id: u32, fin: bool, data: Bytes },
    Control { kind: u16, body: Bytes },
}

struct Frames;

impl Decoder for Frames {
    type Item = Frame;
    type Error = std::io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> std::io::Result<Option<Frame>> {
        if input.len() < 8 {
            return Ok(None);
        }
        let head = u32::from_be_bytes([input[0], input[1], input[2], input[3]]);
        let flags = input[4];
        let count = u32::from_be_bytes([0, input[5], input[6], input[7]]) as usize;
        if count > FRAME_MAX {
            return Err(std::io::Error::other(format!("a frame of {count} bytes is too large")));
        }
        if input.len() < 8 + count {
            input.reserve(8 + count - input.len());
            return Ok(None);
        }
        input.advance(8);
        let body = input.split_to(count).freeze();
        Ok(Some(if head >> 31 == 1 {
            Frame::Control { kind: (head & 0xffff) as u16, body }
        } else {
            Frame::Data { id: head, fin: flags & FIN != 0, data: body }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_opened_with_stored_headers() {
        let frame = syn_stream(1, "streamtype", "error", true);
        assert_eq!(frame[..8], [0x80, 3, 0, 1, 0, 0, 0, frame.len() as u8 - 8]);
        assert_eq!(frame[18..24], ZLIB_HEADER);
        let count = 4 + 4 + 10 + 4 + 5;
        assert_eq!(frame[24..29], [0, count, 0, !count, 0xff]);
        assert!(frame.ends_with(&FLUSH));
        assert!(!syn_stream(3, "streamtype", "stdin", false).windows(6).any(|bytes| bytes == ZLIB_HEADER));
    }

    #[test]
    fn frames_come_whole_and_too_large_ones_not_at_all() {
        let mut input = BytesMut::from(&[0, 0, 0, 5, 0, 0, 0, 2, b'h'][..]);
        assert!(Frames.decode(&mut input).expect("is valid").is_none());
        input.extend_from_slice(b"i\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02");
        match Frames.decode(&mut input) {
            Ok(Some(Frame::Data { id: 5, fin: false, data })) => assert_eq!(data, "hi"),
            _ => panic!("a data frame is there"),
        }
        assert!(matches!(Frames.decode(&mut input), Ok(Some(Frame::Control { kind: PING, .. }))));
        assert!(Frames.decode(&mut BytesMut::from(&[0, 0, 0, 1, 0, 255, 255, 255][..])).is_err());
    }
}

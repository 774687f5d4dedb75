//! EC2's DHCP, as far as one guest needs it: one address, always the same. Source: RFC 2131 and 2132.

use crate::Failed;
use std::net::{Ipv4Addr, UdpSocket};

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
/// What stands before the options.
const HEADER: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Gives `guest` to whoever asks, with `router` as its router, as long as this process lives.
pub fn serve(router: Ipv4Addr, guest: Ipv4Addr) -> Result<(), Failed> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67))?;
    socket.set_broadcast(true)?;
    std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((length, _)) = socket.recv_from(&mut bytes) {
            if let Some(reply) = answer(&bytes[..length], router, guest) {
                // A guest that goes away meanwhile asks again.
                let _gone = socket.send_to(&reply, (Ipv4Addr::BROADCAST, 68));
            }
        }
    });
    Ok(())
}

fn answer(question: &[u8], router: Ipv4Addr, guest: Ipv4Addr) -> Option<Vec<u8>> {
    let options = question.get(HEADER..)?.strip_prefix(&COOKIE)?;
    let kind = match *option(options, 53)?.first()? {
        DISCOVER => OFFER,
        REQUEST => ACK,
        _ => return None,
    };
    let mut reply = vec![0; HEADER];
    // A reply, over Ethernet, with the question's number, flags and hardware address.
    reply[..3].copy_from_slice(&[2, 1, 6]);
    reply[4..8].copy_from_slice(&question[4..8]);
    reply[10..12].copy_from_slice(&question[10..12]);
    reply[16..20].copy_from_slice(&guest.octets());
    reply[20..24].copy_from_slice(&router.octets());
    reply[28..44].copy_from_slice(&question[28..44]);
    reply.extend(COOKIE);
    let mut add = |number: u8, value: &[u8]| {
        reply.extend([number, u8::try_from(value.len()).unwrap_or_default()]);
        reply.extend(value);
    };
    add(53, &[kind]);
    add(54, &router.octets());
    add(51, &3600_u32.to_be_bytes());
    add(1, &[255, 255, 255, 0]);
    add(3, &router.octets());
    reply.push(255);
    Some(reply)
}

/// An option's value.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [0, rest @ ..] => options = rest,
            [255, ..] | [] | [_] => return None,
            [number, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                if *number == wanted {
                    return Some(value);
                }
                options = rest;
            }
        }
    }
}

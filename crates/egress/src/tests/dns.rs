//! A DNS server whose answers change with each question, and the least of a client for it.
//!
//! <https://www.rfc-editor.org/rfc/rfc1035#section-4>

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::net::UdpSocket;

/// Answers the n-th question about any name with the n-th address, and from then on with the last.
pub(crate) async fn rebinding(answers: &[Ipv4Addr]) -> (SocketAddr, Arc<Mutex<usize>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(0));
    let (count, answers) = (Arc::clone(&asked), answers.to_vec());
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = {
                let mut asked = count.lock().unwrap();
                *asked += 1;
                answers[(*asked - 1).min(answers.len() - 1)]
            };
            let mut reply = buffer[..length].to_vec();
            reply[2] |= 0x80;
            reply[7] = 1;
            // The name of the question, type A, class IN, no time to live.
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            reply.extend(answer.octets());
            socket.send_to(&reply, client).await.unwrap();
        }
    });
    (address, asked)
}

pub(crate) async fn ask(server: SocketAddr, host: &str) -> io::Result<Vec<IpAddr>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in host.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    socket.send_to(&question, server).await?;
    let mut answer = [0; 512];
    let (length, _) = socket.recv_from(&mut answer).await?;
    let address: [u8; 4] = answer[length - 4..length].try_into().unwrap();
    Ok(vec![IpAddr::from(address)])
}

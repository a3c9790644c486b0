use async_trait::async_trait;

use super::*;

/// Resolves to an address that refuses the connection and to one that this machine cannot connect to (TCP to a
/// broadcast address is unreachable everywhere).
struct TwoAddresses(u16);

#[async_trait]
impl Resolve for TwoAddresses {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![([127, 0, 0, 1], self.0).into(), ([255, 255, 255, 255], self.0).into()])
    }
}

#[tokio::test]
async fn connect_local_error_of_one_address_does_not_replace_remote_error_of_another() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let allow = vec!["127.0.0.1/32".parse().unwrap(), "255.255.255.255/32".parse().unwrap()];
    let dialer =
        Dialer::new(Guard { allow, allow_http: true }, Arc::new(TwoAddresses(closed)), LookupLimits::default());
    let deadline = Instant::now() + Duration::from_secs(20);
    let vetted = dialer.vetted("two.example", closed, DialOptions::default(), deadline).await.unwrap();
    assert_eq!(vetted.addresses().len(), 2);
    let broadcast = VettedAddrs(vetted.addresses()[1..].to_vec());
    assert!(dialer.connect(&broadcast, deadline).await.unwrap_err().is_own());
    let why = dialer.connect(&vetted, deadline).await.unwrap_err();
    assert!(
        matches!(&why, DialError::ConnectFailed(error) if error.kind() == io::ErrorKind::ConnectionRefused),
        "{why}"
    );
}

#[test]
fn errors_are_split_into_local_and_remote() {
    let os = |number: Errno| io::Error::from_raw_os_error(number.raw_os_error());
    for number in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NETUNREACH, Errno::ADDRNOTAVAIL] {
        assert!(is_own(&os(number)), "{number}");
    }
    for number in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::HOSTUNREACH, Errno::TIMEDOUT] {
        assert!(!is_own(&os(number)), "{number}");
    }
    assert!(is_out_of_files(&os(Errno::MFILE)) && !is_out_of_files(&os(Errno::NOBUFS)));
}

/// A port on which 127.0.0.2 does not answer, 127.0.0.3 refuses and 127.0.0.4 accepts. The returned sockets keep it so.
async fn three_addresses() -> (u16, (tokio::net::TcpListener, Vec<TcpStream>, tokio::net::TcpListener)) {
    let accepting = tokio::net::TcpListener::bind("127.0.0.4:0").await.unwrap();
    let port = accepting.local_addr().unwrap().port();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], port).into()).unwrap();
    // A listener whose queue is full drops what follows, as a firewall does.
    let silent = socket.listen(0).unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(("127.0.0.2", port))).await
    {
        queue.push(stream.unwrap());
    }
    (port, (silent, queue, accepting))
}

fn loopback(port: u16, last_bytes: &[u8]) -> VettedAddrs {
    VettedAddrs(last_bytes.iter().map(|last| ([127, 0, 0, *last], port).into()).collect())
}

fn dialer() -> Dialer {
    Dialer::new(Guard::default(), Arc::new(TwoAddresses(1)), LookupLimits::default())
}

#[tokio::test]
async fn connect_unanswered_address_delays_the_next_by_a_quarter_second_only() {
    let (port, _held) = three_addresses().await;
    for (addresses, least, most) in [
        (&[2, 4][..], ATTEMPT_DELAY, ATTEMPT_DELAY * 3),
        // A failure starts the next at once.
        (&[3, 4], Duration::ZERO, ATTEMPT_DELAY / 2),
        (&[3, 2, 3, 4], ATTEMPT_DELAY, ATTEMPT_DELAY * 3),
        (&[2, 2, 4], ATTEMPT_DELAY * 2, ATTEMPT_DELAY * 4),
    ] {
        let started = Instant::now();
        let stream = dialer().connect(&loopback(port, addresses), started + Duration::from_secs(5)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), ([127, 0, 0, 4], port).into());
        assert!((least..most).contains(&started.elapsed()), "{addresses:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn connect_slow_address_wins_if_the_next_ones_fail() {
    let (port, (silent, queue, _accepting)) = three_addresses().await;
    let vetted = loopback(port, &[2, 3]);
    let task = tokio::spawn(async move { dialer().connect(&vetted, Instant::now() + Duration::from_secs(10)).await });
    tokio::time::sleep(ATTEMPT_DELAY * 2).await;
    // The queue is emptied: the kernel repeats the dropped packet, and the first attempt succeeds.
    drop(queue);
    let _accepted = (silent.accept().await.unwrap(), silent.accept().await);
    let stream = task.await.unwrap().unwrap();
    assert_eq!(stream.peer_addr().unwrap(), ([127, 0, 0, 2], port).into());
}

#[tokio::test]
async fn connect_error_names_what_an_address_reported() {
    let (port, _held) = three_addresses().await;
    let connect = async |addresses: &[u8]| {
        dialer().connect(&loopback(port, addresses), Instant::now() + Duration::from_millis(600)).await.unwrap_err()
    };
    assert!(matches!(connect(&[2]).await, DialError::ConnectTimeout));
    assert!(matches!(connect(&[2, 2]).await, DialError::ConnectTimeout));
    for addresses in [&[2, 3][..], &[3, 2], &[3]] {
        let why = connect(addresses).await;
        assert!(
            matches!(&why, DialError::ConnectFailed(error) if error.kind() == ErrorKind::ConnectionRefused),
            "{why}"
        );
    }
    assert!(matches!(connect(&[]).await, DialError::NoAddress));
}

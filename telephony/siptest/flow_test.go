package siptest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"tributary/telephony/siptest"
)

// message is one that came over a stream, read by hand.
type message struct {
	start  string
	header textproto.MIMEHeader
	body   string
}

func read(t *testing.T, r *textproto.Reader) message {
	t.Helper()
	for {
		start, err := r.ReadLine()
		must(t, err)
		if start == "" {
			continue
		}
		header, err := r.ReadMIMEHeader()
		must(t, err)
		length, err := strconv.Atoi(header.Get("Content-Length"))
		must(t, err)
		body := make([]byte, length)
		_, err = io.ReadFull(r.R, body)
		must(t, err)
		return message{start, header, string(body)}
	}
}

// TestCallsComeBackOverTheConnection: a phone that registered by TCP is called over the same connection, as one behind a NAT
// has to be (RFC 5626); requests and answers are written by hand, so that no library agrees with itself.
func TestCallsComeBackOverTheConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	p := siptest.NewPhone(t, siptest.PhoneConfig{Registrar: l.Addr().String(), Username: "ann", Transport: "tcp"})
	registered := make(chan error, 1)
	go func() {
		_, err := p.Register(soon(t), time.Hour)
		registered <- err
	}()
	conn, err := l.Accept()
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	r := textproto.NewReader(bufio.NewReader(conn))
	reg := read(t, r)
	if !strings.HasPrefix(reg.start, "REGISTER sip:127.0.0.1 SIP/2.0") || !strings.Contains(reg.header.Get("Contact"), p.Addr().String()) {
		t.Fatalf("%+v", reg)
	}
	fmt.Fprintf(conn, "SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=r\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: %s;expires=60\r\nContent-Length: 0\r\n\r\n",
		reg.header.Get("Via"), reg.header.Get("From"), reg.header.Get("To"), reg.header.Get("Call-Id"), reg.header.Get("Cseq"), reg.header.Get("Contact"))
	must(t, <-registered)

	p.Behave(siptest.AnswerAfter(0))
	sdp := "v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"
	request := func(method string, number int, via, toTag, body string) {
		fmt.Fprintf(conn, "%s sip:ann@%s;transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:x@127.0.0.1>;tag=x\r\nTo: <sip:ann@127.0.0.1>%s\r\nCall-ID: c1\r\nCSeq: %d %s\r\nContact: <sip:x@127.0.0.1:5;transport=tcp>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			method, p.Addr(), via, toTag, number, method, len(body), body)
	}
	request("INVITE", 1, "a", "", sdp)
	var ok message
	for !strings.HasPrefix(ok.start, "SIP/2.0 200") {
		ok = read(t, r)
	}
	if !strings.Contains(ok.body, "RTP/AVP 0 96\r\n") || strings.Contains(ok.body, "PCMA") {
		t.Errorf("not the answer to the offer:\n%s", ok.body)
	}
	_, tag, _ := strings.Cut(ok.header.Get("To"), ";tag=")
	request("ACK", 1, "b", ";tag="+tag, "")
	await(t, "the phone has the ACK", func() bool { c := p.Calls(); return len(c) == 1 && c[0].Acks() == 1 })
	request("BYE", 2, "c", ";tag="+tag, "")
	if bye := read(t, r); !strings.HasPrefix(bye.start, "SIP/2.0 200") || bye.header.Get("Cseq") != "2 BYE" {
		t.Errorf("%+v", bye)
	}
	await(t, "the phone has no call any more", func() bool { return len(p.Calls()) == 0 })
}

package media

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"
)

func TestHeaderRoundTrip(t *testing.T) {
	want := rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: true, PayloadType: 8, SequenceNumber: 65535, Timestamp: 1 << 31, SSRC: 0xdeadbeef,
			CSRC: []uint32{1, 2}, Extension: true, ExtensionProfile: 0xbede,
			Extensions: nil,
		},
		Payload: []byte{1, 2, 3},
	}
	if err := want.SetExtension(1, []byte{9}); err != nil {
		t.Fatal(err)
	}
	want.Padding, want.PaddingSize = true, 5
	b, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	h, payload, ok := Parse(b)
	if !ok || h != (Header{8, true, 65535, 1 << 31, 0xdeadbeef}) || !bytes.Equal(payload, want.Payload) {
		t.Errorf("%+v %v %t", h, payload, ok)
	}
	out := make([]byte, headerSize)
	h.put(out)
	if again, _, ok := Parse(out); !ok || again != h {
		t.Errorf("%+v", again)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xd5})
	f.Add([]byte{0xbf, 0xff, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, ok := Parse(b)
		var p rtp.Packet
		if err := p.Unmarshal(b); err == nil && ok {
			if p.SSRC != h.SSRC || p.SequenceNumber != h.Sequence || p.Timestamp != h.Timestamp || !bytes.Equal(p.Payload, payload) {
				t.Fatalf("%+v %x is %+v %x elsewhere", h, payload, p.Header, p.Payload)
			}
		}
		if len(payload) > len(b) {
			t.Fatal("more payload than packet")
		}
	})
}

package browser

import (
	"net/netip"

	"github.com/zaf/g711"

	"tributary/telephony/media"
)

func netipAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func decode(c media.Codec, b byte) float64 {
	if c == media.PCMA {
		return float64(g711.DecodeAlawFrame(b)) / 32768
	}
	return float64(g711.DecodeUlawFrame(b)) / 32768
}

package desk_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/internal/gid"
)

// sound is a WAV file of silence. The chunks beside its samples are what programs write there.
type sound struct {
	format, channels, bits uint16
	rate                   uint32
	samples                int    // bytes
	says                   uint32 // length of the samples by the header; 0: the true one
	before                 []byte // chunks before the format
}

var telephony = sound{format: 1, channels: 1, bits: 16, rate: 8000, samples: 16000}

func (s sound) file() []byte {
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	b.WriteString("RIFF\x00\x00\x00\x00WAVE")
	b.Write(s.before)
	b.WriteString("fmt ")
	put(uint32(16))
	put(s.format)
	put(s.channels)
	put(s.rate)
	put(s.rate * uint32(s.channels*s.bits/8))
	put(s.channels * s.bits / 8)
	put(s.bits)
	b.WriteString("data")
	if s.says == 0 {
		s.says = uint32(s.samples) //nolint:gosec // small
	}
	put(s.says)
	b.Write(make([]byte, s.samples))
	return b.Bytes()
}

func TestAWAVFileIsReadByItsHeader(t *testing.T) {
	t.Parallel()
	with := func(f func(*sound)) []byte { s := telephony; f(&s); return s.file() }
	extensible := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x28\x00\x00\x00\xfe\xff\x02\x00\x80\xbb\x00\x00\x00\xee\x02\x00\x04\x00\x10\x00\x16\x00\x10\x00\x03\x00\x00\x00\x01\x00"), make([]byte, 14)...)
	extensible = append(append(extensible, "data\x00\xee\x02\x00"...), make([]byte, 192000)...)
	for name, c := range map[string]struct {
		file    []byte
		seconds float64 // 0: refused
	}{
		"PCM":                     {telephony.file(), 1},
		"stereo of a studio":      {with(func(s *sound) { s.channels, s.rate = 2, 48000 }), 16000.0 / 192000},
		"A-law":                   {with(func(s *sound) { s.format, s.bits = 6, 8 }), 2},
		"mu-law":                  {with(func(s *sound) { s.format, s.bits = 7, 8 }), 2},
		"the long form":           {extensible, 1},
		"odd chunks before":       {with(func(s *sound) { s.before = []byte("LIST\x03\x00\x00\x00abc\x00JUNK\x00\x00\x00\x00") }), 1},
		"a writer that streamed":  {with(func(s *sound) { s.says = math.MaxUint32 }), 1},
		"cut short in its sound":  {with(func(s *sound) { s.says = 32000 }), 1},
		"PCM of 8 bits":           {with(func(s *sound) { s.bits = 8 }), 0},
		"PCM of 24 bits":          {with(func(s *sound) { s.bits = 24 }), 0},
		"floating point":          {with(func(s *sound) { s.format, s.bits = 3, 32 }), 0},
		"six channels":            {with(func(s *sound) { s.channels = 6 }), 0},
		"no channel":              {with(func(s *sound) { s.channels = 0 }), 0},
		"too fast":                {with(func(s *sound) { s.rate = 96000 }), 0},
		"no rate":                 {with(func(s *sound) { s.rate = 0 }), 0},
		"MP3 by that name":        {[]byte("ID3\x04" + strings.Repeat("x", 100)), 0},
		"another RIFF":            {append([]byte("RIFF\x00\x00\x00\x00AVI "), make([]byte, 100)...), 0},
		"cut in the format":       {telephony.file()[:30], 0},
		"no samples":              {telephony.file()[:36], 0},
		"samples before a format": {append([]byte("RIFF\x00\x00\x00\x00WAVEdata\x04\x00\x00\x00abcd"), 0), 0},
		"a chunk beyond the end":  {append([]byte("RIFF\x00\x00\x00\x00WAVEJUNK\xff\xff\xff\x7f"), make([]byte, 100)...), 0},
		"nothing but chunks":      {append([]byte("RIFF\x00\x00\x00\x00WAVE"), bytes.Repeat([]byte("JUNK\x00\x00\x00\x00"), 1000)...), 0},
		"empty":                   {nil, 0},
	} {
		got, err := desk.WAVSeconds(bytes.NewReader(c.file), int64(len(c.file)))
		if (err != nil) != (c.seconds == 0) || math.Abs(got-c.seconds) > 1e-9 {
			t.Errorf("%s: %v s, %v; want %v", name, got, err, c.seconds)
		}
	}
}

func FuzzWAV(f *testing.F) {
	f.Add(telephony.file())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := desk.WAVSeconds(bytes.NewReader(b), int64(len(b)))
		if err == nil && (s < 0 || s > float64(len(b))/4000) {
			t.Fatalf("%d bytes last %v s", len(b), s)
		}
	})
}

// putUp uploads a file as an agent.
func putUp(t *testing.T, w *desktest.World, a *desktest.Agent, file []byte) gid.ID {
	t.Helper()
	up, err := w.Desk.CreateUpload(a, desk.UploadInput{Name: "hello.wav", ContentType: "audio/wav", Bytes: int64(len(file))}, nil)
	ok(t, err)
	ok(t, w.Desk.TakeUpload(t.Context(), up.Attachment, bytes.NewReader(file)))
	return up.Attachment
}

func promptOf(t *testing.T, w *desktest.World) *ent.Prompt {
	t.Helper()
	id, err := w.Desk.CreatePrompt(w.Admin, desk.PromptCreateInput{Name: w.Unique("prompt"), AttachmentID: putUp(t, w, w.Admin, telephony.file())}, nil)
	ok(t, err)
	p, err := w.Store.Ent.Prompt.Get(w.Sys, id)
	ok(t, err)
	return p
}

// TestAPromptIsASoundOfItsOwn: what no call could play is refused, and a file belongs to one thing.
func TestAPromptIsASoundOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		make1 := func(a *desktest.Agent, file gid.ID) error {
			_, err := w.Desk.CreatePrompt(a, desk.PromptCreateInput{Name: w.Unique("prompt"), AttachmentID: file}, nil)
			return err
		}
		refused := func(what string, err error, code desk.Code) {
			t.Helper()
			if r := w.Refused(err, code); len(r.Field) != 2 || r.Field[1] != "attachmentId" {
				t.Errorf("%s is refused about %v", what, r.Field)
			}
		}
		refused("no sound", make1(w.Admin, putUp(t, w, w.Admin, []byte("%PDF-1.4 hello"))), desk.Invalid)
		empty := telephony
		empty.samples = 0
		refused("silence without length", make1(w.Admin, putUp(t, w, w.Admin, empty.file())), desk.Invalid)
		long := sound{format: 6, channels: 1, bits: 8, rate: 4000, samples: 4000*600 + 4000}
		refused("ten minutes and a second", make1(w.Admin, putUp(t, w, w.Admin, long.file())), desk.LimitReached)
		long.samples = 4000 * 600
		ok(t, make1(w.Admin, putUp(t, w, w.Admin, long.file())))
		large := sound{format: 1, channels: 2, bits: 16, rate: 48000, samples: 20 << 20}
		refused("more than 20 MiB", make1(w.Admin, putUp(t, w, w.Admin, large.file())), desk.LimitReached)
		refused("absent", make1(w.Admin, gid.Make(gid.Attachment)), desk.NotFound)
		refused("another's", make1(w.Admin, putUp(t, w, w.Agent("Ben", "admin"), telephony.file())), desk.NotFound)
		refused("another workspace's", make1(w.Another().Admin, putUp(t, w, w.Admin, telephony.file())), desk.NotFound)
		up, err := w.Desk.CreateUpload(w.Admin, desk.UploadInput{Name: "x", Bytes: 100}, nil)
		ok(t, err)
		refused("not put up yet", make1(w.Admin, up.Attachment), desk.WrongState)
		p := promptOf(t, w)
		if p.Seconds != 1 {
			t.Errorf("it lasts %v s", p.Seconds)
		}
		refused("a prompt's", make1(w.Admin, p.AttachmentID), desk.InUse)
		ann := w.Agent("Ann", "admin")
		said := putUp(t, w, ann, telephony.file())
		i := w.Serve(w.Bridge(func(in *desk.ChannelCreateInput) { in.Config = []byte(`{"callbackUrl":"https://bridge.example"}`) }).Say("t", "u", "hello"), ann)
		_, err = w.Desk.SendMessage(ann, i.ID, desk.MessageInput{AttachmentIds: []gid.ID{said}}, nil)
		ok(t, err)
		refused("a message's", make1(ann, said), desk.InUse)
	})
}

// TestAPromptKeepsItsFile while others that nobody needs are deleted; a repeat has no second effect though the file is
// taken by then.
func TestAPromptKeepsItsFile(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		stray, p := putUp(t, w, w.Admin, telephony.file()), promptOf(t, w)
		files := func(want ...gid.ID) {
			t.Helper()
			w.Clock.Add(2 * time.Hour)
			ok(t, w.Desk.SweepUploads(t.Context()))
			got, err := w.Store.Ent.Attachment.Query().Order(ent.Asc(attachment.FieldID)).IDs(w.Sys)
			ok(t, err)
			if len(got) != len(want) {
				t.Fatalf("%d files are left, want %d", len(got), len(want))
			}
			for n := range want {
				_, err := w.Desk.Blob.Stat(t.Context(), "att/"+want[n].String())
				if ok(t, err); got[n] != want[n] {
					t.Errorf("file %d is another", n)
				}
			}
		}
		files(p.AttachmentID)
		_ = stray
		key, in := "k", desk.PromptUpdateInput{AttachmentID: ptr(putUp(t, w, w.Admin, sound{format: 6, channels: 1, bits: 8, rate: 8000, samples: 4000}.file()))}
		for range 2 {
			_, err := w.Desk.UpdatePrompt(w.Admin, p.ID, in, nil, &key)
			ok(t, err)
		}
		n, err := w.Store.Ent.Prompt.Get(w.Sys, p.ID)
		ok(t, err)
		if n.Version != 2 || n.Seconds != 0.5 || n.AttachmentID != *in.AttachmentID {
			t.Errorf("the prompt is %+v", n)
		}
		files(n.AttachmentID)
		_, err = w.Desk.DeletePrompt(w.Admin, p.ID, nil, nil)
		ok(t, err)
		files()
	})
}

// TestAQueuesPromptIsKept, and a queue plays none that is not there.
func TestAQueuesPromptIsKept(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := promptOf(t, w)
		q := w.QueueOf(desk.QueueCreateInput{WaitingPromptID: &p.ID})
		_, err := w.Desk.DeletePrompt(w.Admin, p.ID, nil, nil)
		if r := w.Refused(err, desk.InUse); r.ConflictID != q {
			t.Errorf("in the way stands %v", r.ConflictID)
		}
		other := w.Another()
		_, err = other.Desk.CreateQueue(other.Admin, desk.QueueCreateInput{Name: "q", WaitingPromptID: &p.ID}, nil)
		if r := w.Refused(err, desk.NotFound); r.Field[1] != "waitingPromptId" {
			t.Errorf("refused about %v", r.Field)
		}
		in := desk.QueueUpdateInput{}
		in.WaitingPromptID.Set, in.WaitingPromptID.V = true, ptr(gid.Make(gid.Prompt))
		_, err = w.Desk.UpdateQueue(w.Admin, q, in, nil, nil)
		w.Refused(err, desk.NotFound)
		in.WaitingPromptID.V = nil
		_, err = w.Desk.UpdateQueue(w.Admin, q, in, nil, nil)
		ok(t, err)
		_, err = w.Desk.DeletePrompt(w.Admin, p.ID, nil, nil)
		ok(t, err)
	})
}

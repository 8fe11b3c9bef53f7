package blob

import "time"

// Hasten makes the pauses between attempts short.
func Hasten(s *S3) { s.pause = time.Millisecond }

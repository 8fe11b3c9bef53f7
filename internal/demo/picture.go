package demo

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math/rand/v2"
)

// picture draws a thing on a table with a crack in it: small, and no two alike.
func picture(r *rand.Rand) ([]byte, error) {
	const width, height = 200, 150
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	fill := func(x0, y0, x1, y1 int, c color.Color) {
		draw.Draw(img, image.Rect(x0, y0, x1, y1), image.NewUniform(c), image.Point{}, draw.Src)
	}
	tint := func(least int) color.RGBA {
		one := func() uint8 { return uint8(least + r.IntN(256-least)) }
		return color.RGBA{one(), one(), one(), 255}
	}
	fill(0, 0, width, height, tint(190))
	fill(0, height*2/3, width, height, color.RGBA{139, 105, 72, 255})
	left, top := 50+r.IntN(20), 30+r.IntN(20)
	right, bottom := left+60+r.IntN(40), height*2/3+12
	fill(left, top, right, bottom, tint(60))
	fill(left, top, right, top+8, tint(120))
	dark := color.RGBA{20, 20, 20, 255}
	for x, y := left+10+r.IntN(30), top; y < bottom && x > left && x < right; y++ {
		img.Set(x, y, dark)
		img.Set(x+1, y, dark)
		x += r.IntN(5) - 2
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("draw picture: %w", err)
	}
	return b.Bytes(), nil
}

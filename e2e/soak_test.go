package e2e

import (
	"os"

	"keystay/e2e/internal/world"
)

const pathZone = world.Zone

// soaking reports whether tests should run for long.
func soaking() bool { return os.Getenv("KEYSTAY_SOAK") != "" }

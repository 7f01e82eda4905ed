package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// firefox fills home and returns the arguments for Firefox.
func (b Browser) firefox(ctx context.Context, home, page, file string) ([]string, error) {
	profile := filepath.Join(home, "profile")
	if err := b.trust(ctx, home, profile); err != nil {
		return nil, err
	}
	hosts := strings.Join(b.Hosts, ",")
	prefs := firefoxPrefs
	if b.Resolve {
		prefs = strings.Replace(prefs, `"network.proxy.socks_remote_dns", true`, `"network.proxy.socks_remote_dns", false`, 1)
	} else {
		prefs += fmt.Sprintf("user_pref(\"network.dns.localDomains\", %q);\n", hosts)
	}
	prefs += fmt.Sprintf("user_pref(\"network.proxy.no_proxies_on\", %q);\n", hosts)
	if b.Dark {
		prefs += "user_pref(\"ui.systemUsesDarkTheme\", 1);\n"
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o600); err != nil {
		return nil, fmt.Errorf("write preferences: %w", err)
	}
	args := []string{"--headless", "--no-remote", "--profile", profile, "--window-size", b.size()}
	if file != "" {
		args = append(args, "--screenshot", file)
	}
	return append(args, page), nil
}

// firefoxPrefs keeps Firefox off the network: what goes anywhere but to the
// hosts under test is sent to a proxy on a port where nothing listens, without
// exception, and the services that would try most are off. Nothing here
// changes what a certificate has to be.
const firefoxPrefs = `
user_pref("network.proxy.type", 1);
user_pref("network.proxy.socks", "127.0.0.1");
user_pref("network.proxy.socks_port", 9);
user_pref("network.proxy.socks_remote_dns", true);
user_pref("network.proxy.failover_direct", false);
user_pref("network.proxy.allow_bypass", false);
user_pref("network.dns.disableIPv6", true);
user_pref("network.trr.mode", 5);
user_pref("network.http.http3.enable", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("app.update.auto", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.region.update.enabled", false);
user_pref("browser.safebrowsing.downloads.remote.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.startup.page", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("dom.push.connection.enabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("toolkit.telemetry.unified", false);
`

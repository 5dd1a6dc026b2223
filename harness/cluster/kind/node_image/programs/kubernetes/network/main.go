// Network of one node: which addresses its pods get, and the routes to the pods of other nodes.
//
// Runs on every node as a daemon set. Each change of the cluster's nodes leads to the same three
// steps: write the CNI configuration from this node's pod range, route every other node's pod range
// to that node's address, and let pods that call the outside do so under the node's address.
// The steps are repeatable, so a restarted node or one with a new address needs no case of its own.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const (
	configFile = "/etc/cni/net.d/10-meshmark.conflist"
	// Marks the routes that this program made, so that it removes those and no others.
	routeProtocol = 77
	retryAfter    = 2 * time.Second
	resyncEvery   = 60 * time.Second
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv("NODE_NAME"), os.Getenv("POD_SUBNET")); err != nil {
		log.Fatal(err)
	}
}

// run keeps this node's network up to date until the context ends.
func run(ctx context.Context, nodeName, podSubnet string) error {
	if nodeName == "" || podSubnet == "" {
		return fmt.Errorf("NODE_NAME and POD_SUBNET must be set")
	}
	if err := translateOutbound(podSubnet); err != nil {
		return err
	}
	nodes, changed, err := watchNodes(ctx)
	if err != nil {
		return err
	}
	for {
		var retry <-chan time.Time
		if err := apply(nodes, nodeName); err != nil {
			log.Printf("not applied, trying again in %s: %v", retryAfter, err)
			retry = time.After(retryAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry:
		}
	}
}

// watchNodes returns what lists the nodes, and a channel that holds one value after any change.
func watchNodes(ctx context.Context) (listers.NodeLister, <-chan struct{}, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, nil, err
	}
	// The service address of the API works only once kube-proxy does.
	if endpoint := os.Getenv("CONTROL_PLANE_ENDPOINT"); endpoint != "" {
		config.Host = "https://" + endpoint
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	factory := informers.NewSharedInformerFactory(client, resyncEvery)
	nodes := factory.Core().V1().Nodes()
	_, err = nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { tell() },
		UpdateFunc: func(any, any) { tell() },
		DeleteFunc: func(any) { tell() },
	})
	if err != nil {
		return nil, nil, err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), nodes.Informer().HasSynced) {
		return nil, nil, fmt.Errorf("ended before the nodes were known")
	}
	return nodes.Lister(), changed, nil
}

func apply(lister listers.NodeLister, nodeName string) error {
	nodes, err := lister.List(labels.Everything())
	if err != nil {
		return err
	}
	routes := map[string]net.IP{}
	for _, node := range nodes {
		subnet := podRange(node)
		switch {
		case subnet == nil:
		case node.Name == nodeName:
			if err := writeConfig(subnet); err != nil {
				return err
			}
		default:
			if address := nodeAddress(node); address != nil {
				routes[subnet.String()] = address
			}
		}
	}
	return setRoutes(routes)
}

// podRange is the node's IPv4 pod range, nil while it has none.
func podRange(node *v1.Node) *net.IPNet {
	for _, text := range append(node.Spec.PodCIDRs, node.Spec.PodCIDR) {
		if _, subnet, err := net.ParseCIDR(text); err == nil && subnet.IP.To4() != nil {
			return subnet
		}
	}
	return nil
}

func nodeAddress(node *v1.Node) net.IP {
	for _, address := range node.Status.Addresses {
		if ip := net.ParseIP(address.Address); address.Type == v1.NodeInternalIP && ip.To4() != nil {
			return ip
		}
	}
	return nil
}

// setRoutes makes the routes of this program exactly these: pod range to the node that has it.
func setRoutes(wanted map[string]net.IP) error {
	filter := &netlink.Route{Protocol: routeProtocol}
	existing, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	for _, route := range existing {
		if _, keep := wanted[route.Dst.String()]; !keep {
			log.Printf("route to %s removed", route.Dst)
			if err := netlink.RouteDel(&route); err != nil {
				return err
			}
		}
	}
	for subnet, gateway := range wanted {
		_, destination, err := net.ParseCIDR(subnet)
		if err != nil {
			return err
		}
		route := netlink.Route{Dst: destination, Gw: gateway, Protocol: routeProtocol}
		if err := netlink.RouteReplace(&route); err != nil {
			return fmt.Errorf("route to %s by %s: %w", subnet, gateway, err)
		}
	}
	return nil
}

// translateOutbound lets pods reach what is outside the pod network under the node's address.
func translateOutbound(podSubnet string) error {
	rules := fmt.Sprintf(`table ip meshmark-pods
delete table ip meshmark-pods
table ip meshmark-pods {
	chain outbound {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr %[1]s ip daddr != %[1]s masquerade
	}
}
`, podSubnet)
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader(rules)
	if told, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, told)
	}
	return nil
}

// writeConfig tells the container runtime how pods of this node are connected. The file appears
// whole or not at all, and an unchanged one is left alone.
func writeConfig(subnet *net.IPNet) error {
	mtu, err := outboundMTU()
	if err != nil {
		return err
	}
	content, err := json.MarshalIndent(cniConfig(subnet, mtu), "", "  ")
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(configFile); err == nil && bytes.Equal(old, content) {
		return nil
	}
	// The runtime reads files by their ending; this one it leaves alone.
	fresh := filepath.Join(filepath.Dir(configFile), ".fresh")
	if err := os.WriteFile(fresh, content, 0o644); err != nil {
		return err
	}
	log.Printf("pods of this node get addresses from %s", subnet)
	return os.Rename(fresh, configFile)
}

type object map[string]any

func cniConfig(subnet *net.IPNet, mtu int) object {
	addresses := object{
		"type": "host-local",
		// Addresses are given out anew after a restart, as all pods are.
		"dataDir": "/run/meshmark-addresses",
		"routes":  []object{{"dst": "0.0.0.0/0"}},
		"ranges":  [][]object{{{"subnet": subnet.String()}}},
	}
	return object{
		"cniVersion": "0.4.0",
		"name":       "meshmark",
		"plugins": []object{
			{"type": "ptp", "mtu": mtu, "ipMasq": false, "ipam": addresses},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}
}

// outboundMTU is what fits through the node's own link to the others.
func outboundMTU() (int, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 0, err
	}
	for _, route := range routes {
		if route.Gw != nil && route.Protocol != routeProtocol {
			link, err := netlink.LinkByIndex(route.LinkIndex)
			if err != nil {
				return 0, err
			}
			return link.Attrs().MTU, nil
		}
	}
	return 0, fmt.Errorf("this node has no default route")
}

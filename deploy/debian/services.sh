# What the maintainer scripts have in common. `build` puts it into each of them.
SERVICES='stats-aggregator billing-daemon web'

# Units of ours that run or are about to, in the order in which a release is rolled out.
running_units() {
    for service in $SERVICES; do
        systemctl list-units --plain --no-legend --state=active,activating \
            "containerstacks-$service.service" "containerstacks-$service-*.service" "containerstacks-$service@*.service"
    done | awk '{ print $1 }'
}

has_systemd() {
    [ -d /run/systemd/system ]
}

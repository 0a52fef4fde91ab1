"""In the place of Debian's bcrypt, for ceph-mgr: a PyO3 extension refuses the interpreters that the manager gives its modules, and
all of them import it by way of mgr_util; only the dashboard, which no lab has, calls it."""

#!/bin/bash
# Boots one instance: this machine's own files under an overlay in memory, with what is the owner's hidden; then sshd,
# the instance's first process. It runs in mount, pid and host name namespaces of its own.
set -eu
memory=$folder/memory
root=$folder/root
mkdir -p "$$memory"
mount --make-rprivate /
mount -t tmpfs -o size=10g,mode=755 none "$$memory"
mkdir "$$memory/upper" "$$memory/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$$memory/upper,workdir=$$memory/work" "$$root"
mount --bind /dev "$$root/dev"
mkdir -p "$$root/dev/shm"
mount -t tmpfs none "$$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$$root/dev/pts" || mount --bind /dev/pts "$$root/dev/pts"
mount -t proc proc "$$root/proc"
mount -t tmpfs -o mode=1777 none "$$root/tmp"
mount -t tmpfs none "$$root/run"
for hidden in $hidden; do
  if [ -d "$$root$$hidden" ]; then mount -t tmpfs none "$$root$$hidden"; fi
done
mkdir -p "$$root/var/cache/uv" "$$root/etc/uv" "$$root/run/sshd"
mount --bind $cache/uv "$$root/var/cache/uv"
# Shutting down ends the first process, and with it the machine.
for name in shutdown poweroff halt; do
  rm -f "$$root/usr/sbin/$$name" "$$root/usr/local/sbin/$$name"
  printf '#!/bin/sh\nkill -TERM 1\n' > "$$root/usr/sbin/$$name"
  chmod 755 "$$root/usr/sbin/$$name"
done
printf 'native-tls = true\n' > "$$root/etc/uv/uv.toml"
cp $folder/sshd_config "$$root/etc/ssh/lab_sshd_config"
cp $folder/authorized_keys "$$root/etc/ssh/lab_authorized_keys"
cp $cache/uv.sh "$$root/usr/local/bin/uv"
mkdir -p "$$root/usr/local/libexec"
cp $cache/uv-binary "$$root/usr/local/libexec/uv"
cat > "$$root/run/first_boot.sh" <<'END'
set -eu
user=$user
useradd --create-home --uid 54321 --password '*' --shell /bin/bash "$$user"
echo "$$user ALL=(ALL) NOPASSWD:ALL" > "/etc/sudoers.d/$$user"
home=$$(getent passwd "$$user" | cut -d: -f6)
mkdir -p "$$home/.ssh" "$$home/.local/bin"
cp /etc/ssh/lab_authorized_keys "$$home/.ssh/authorized_keys"
# SkyPilot looks here for uv before it downloads one.
ln -s /usr/local/bin/uv "$$home/.local/bin/uv"
chown -R "$$user:$$user" "$$home" && chmod 700 "$$home/.ssh" && chmod 600 "$$home/.ssh/authorized_keys"
rm -f /etc/ssh/lab_host_ed25519*
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab_host_ed25519
END
chroot "$$root" /bin/bash /run/first_boot.sh
# What an earlier machine has installed, as in an image of the owner's: kept apart from what this one writes.
home=$$(chroot "$$root" getent passwd $user | cut -d: -f6)
for name in $kept; do
  if [ -d "$image/$$name" ]; then
    mkdir -p "$$memory/kept-$$name/upper" "$$memory/kept-$$name/work" "$$root$$home/$$name"
    chown 54321:54321 "$$memory/kept-$$name/upper" "$$root$$home/$$name"
    mount -t overlay overlay \
      -o "lowerdir=$image/$$name,upperdir=$$memory/kept-$$name/upper,workdir=$$memory/kept-$$name/work" "$$root$$home/$$name"
  fi
done
exec chroot "$$root" /usr/sbin/sshd -D -e -f /etc/ssh/lab_sshd_config

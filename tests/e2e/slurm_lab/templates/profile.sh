# What the site sets for its users. Login shells read it, and Slurm hands it on to the job.
export PATH="$site/bin:$$PATH"
export SSL_CERT_FILE="$ca_bundle"
export UV_CACHE_DIR="$uv_cache"
export UV_PYTHON_DOWNLOADS=never
export UV_FIND_LINKS="$find_links"
